"""Memory of large tensors, in large pages and kept for the next step.

It imports no torch, which reads once, with its first tensor, how it shall ask for memory.
"""

from __future__ import annotations

import ctypes
import os
import platform

#: Numbers of glibc's `mallopt` (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Blocks below this many bytes are taken from the heap, whose end is never handed back.
_MOST, _NEVER = 1 << 30, -1


def keep_memory() -> bool:
    """Have the C library keep memory that is freed, for the process as a whole; whether it does.

    glibc hands blocks above 32 MB back to the system at once, and the next step's tensors are zeroed and mapped anew,
    page by page. On other systems nothing is done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _MOST)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def huge_pages() -> None:
    """Have torch ask for pages of 2 MB below its large tensors, in this process and those that it starts.

    Most Linux systems give them to who asks. It has to be called before torch makes its first tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
