"""The functions of ``native/cascade.cpp``: MTCNN's arithmetic in C++. Each call leaves Python's lock."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from maeum.native import library


class Layer(ctypes.Structure):
    """A convolution with what follows it; see the source."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kernel", "channels_in", "channels_out", "pool", "pool_stride")),
        *((name, ctypes.c_void_p) for name in ("weights", "bias", "slopes")),
    )


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled functions with their types; None where they cannot be had."""
    lib = library("cascade")
    if lib is None:
        return None
    pointer, wide, narrow, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32, ctypes.c_float
    table_rows: tuple[Any, ...] = (pointer, wide, pointer, pointer)
    layers: tuple[Any, ...] = (pointer, narrow)
    lib.maeum_sums.argtypes = (pointer, wide, wide, pointer)
    lib.maeum_means.argtypes = (*table_rows, pointer, pointer, wide, wide, wide, pointer)
    lib.maeum_body.argtypes = (*layers, pointer, wide, narrow, narrow, narrow, pointer)
    lib.maeum_propose.argtypes = (*layers, pointer, real, *table_rows, narrow, pointer, pointer, narrow, pointer)
    for function in (lib.maeum_sums, lib.maeum_means, lib.maeum_body):
        function.restype = None
    lib.maeum_propose.restype = wide
    return lib
