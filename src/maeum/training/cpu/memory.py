"""Memory of large tensors, in large pages and kept for the next step.

It imports no torch, which reads once, with its first tensor, how it shall ask for memory.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

#: Numbers of glibc's `mallopt` (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
#: Blocks below this many bytes are taken from the heap, whose end is never handed back.
_MOST, _NEVER = 1 << 30, -1
#: Where Linux says to whom it gives huge pages.
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def keep_memory() -> bool:
    """Have the C library keep memory that is freed, for the process as a whole; whether it does.

    glibc hands blocks above 32 MB back to the system at once, and the next step's tensors are zeroed and mapped anew,
    page by page. The process then holds what it needed at most until it ends. On other systems nothing is done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_MMAP_THRESHOLD, _MOST) or mallopt(_MMAP_MAX, 0)  # older ones take no threshold above 32 MB
    return bool(kept) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def huge_pages() -> None:
    """Have torch ask for pages of 2 MB below its large tensors, in this process and those that it starts.

    Most Linux systems give them to who asks. It has to be called before torch makes its first tensor.
    """
    if _HUGE_PAGES.exists():
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
