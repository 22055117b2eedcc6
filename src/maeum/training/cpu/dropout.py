"""Dropout that computes what torch's does, faster on processors (`benchmarks/mmer.py`)."""

from __future__ import annotations

import ctypes
import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from maeum.native import broken, library, missing

#: One more than what is drawn can be: by the kernel, and by torch.
_NUMBERS, _SHORTS = 1 << 32, 1 << 16


class Dropout(nn.Dropout):
    """Dropout that is quick on processors.

    fp32 is drawn, scaled and masked in one pass (``native/dropout.cpp``). For other types, and where there is none,
    torch draws 64 bits at a time; it would draw and convert every element. ``p`` is rounded to a multiple of 2^-32 or
    2^-16. The two draw other numbers, so a seed holds on machines that have the kernel, or on those that have not.
    """

    def forward(self, input: Tensor) -> Tensor:
        """See `torch.nn.Dropout`."""
        dropped = round(self.p * _SHORTS)
        supported = input.device.type == "cpu" and input.layout == torch.strided and not torch.compiler.is_compiling()
        if not self.training or not supported or not 0 < dropped < _SHORTS:
            return super().forward(input)
        kernel = _kernel() if input.dtype == torch.float32 else None
        if kernel is not None:
            seed = int(torch.randint((1 << 63) - 1, (), device="cpu"))
            result: Tensor = _Dropped.apply(input, kernel, seed, round(self.p * _NUMBERS))  # type: ignore[no-untyped-call]
            return result
        drawn = torch.empty((input.numel() + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
        stays = drawn.view(torch.int16)[: input.numel()].view(input.shape) >= dropped - _SHORTS // 2
        return input * stays.to(input.dtype).mul_(_SHORTS / (_SHORTS - dropped))


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
