"""Dropout that computes what torch's does, faster on processors (`benchmarks/cpu_training.py`)."""

from __future__ import annotations

import ctypes
import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from maeum.native import broken, library, missing

#: One more than the largest number that the kernel draws.
_NUMBERS = 1 << 32


class Dropout(nn.Dropout):
    """Dropout that is quick on processors in fp32, which is drawn, scaled and masked in one pass.

    Other types, and machines without a compiler, have torch's. ``p`` is rounded to a multiple of 2^-32. The kernel
    (``native/dropout.cpp``) and torch draw different numbers, so one seed gives different masks with and without it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """See `torch.nn.Dropout`."""
        dropped = round(self.p * _NUMBERS)
        supported = input.device.type == "cpu" and input.dtype == torch.float32 and input.layout == torch.strided
        if not self.training or not supported or torch.compiler.is_compiling() or not 0 < dropped < _NUMBERS:
            return super().forward(input)
        kernel = _kernel()
        if kernel is None:
            return super().forward(input)
        seed = int(torch.randint((1 << 63) - 1, (), device="cpu"))
        result: Tensor = _Dropped.apply(input, kernel, seed, dropped)  # type: ignore[no-untyped-call]
        return result


def quicken_dropout(model: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` in a model."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))


@cache
def _kernel() -> Any:
    lib = library("dropout")
    if lib is None:
        if broken("dropout"):
            warnings.warn(f"dropout runs without its kernel in C++: {missing('dropout')}", stacklevel=2)
        return None
    pointer = ctypes.c_void_p
    lib.maeum_dropout.argtypes = (
        pointer, pointer, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_float, ctypes.c_int32,
    )  # fmt: skip
    lib.maeum_dropout.restype = None
    return lib.maeum_dropout


class _Dropped(torch.autograd.Function):
    """Dropout whose mask is drawn again from its seed for the gradient, so that no mask is stored."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kernel: Any, seed: int, dropped: int) -> Tensor:
        ctx.mask = kernel, seed, dropped
        input = input.contiguous()
        out = torch.empty_like(input)
        scale = _NUMBERS / (_NUMBERS - dropped)
        kernel(input.data_ptr(), out.data_ptr(), input.numel(), seed, dropped, scale, torch.get_num_threads())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Dropped.apply(grads[0], *ctx.mask), None, None, None  # type: ignore[no-untyped-call]
