"""Memory of large tensors, kept for the next step."""

from __future__ import annotations

import ctypes
import platform

#: Numbers of glibc's `mallopt` (malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Blocks below this many bytes are taken from the heap; as many free ones may stay at its end.
_MOST, _FREE = 1 << 30, (1 << 31) - 1


def keep_memory() -> bool:
    """Have the C library keep memory that is freed, for the process as a whole; whether it does.

    glibc hands blocks above 32 MB back to the system at once, and the next step's tensors are zeroed and mapped anew,
    page by page. On other systems nothing is done.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_MMAP_THRESHOLD, _MOST)) and bool(mallopt(_TRIM_THRESHOLD, _FREE))
