"""Dropout as torch's, and quicker on processors (`benchmarks/mmer.py`)."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from maeum.native import library

#: One more than what is drawn can be.
_NUMBERS = 1 << 32


class Dropout(nn.Dropout):
    """Dropout that draws, scales and masks in one pass on processors (``native/dropout.cpp``).

    ``p`` is rounded to a multiple of 2^-32. Where the kernel is missing, and for other types than fp32, it is torch's.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Dropout`."""
        dropped = round(self.p * _NUMBERS)
        kernel = _kernel() if self.training and 0 < dropped < _NUMBERS and _is_ours(input) else None
        if kernel is None:
            return super().forward(input)
        result: Tensor = _Dropped.apply(input, kernel, int(torch.randint(-(1 << 63), (1 << 63) - 1, ())), dropped)  # type: ignore[no-untyped-call]
        return result


def quicken_dropout(model: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` in a model."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))


def _is_ours(input: Tensor) -> bool:
    return input.device.type == "cpu" and input.dtype == torch.float32


@cache
def _kernel() -> Any:
    lib = library("dropout")
    if lib is None:
        return None
    pointer = ctypes.c_void_p
    lib.maeum_dropout.argtypes = (
        pointer, pointer, ctypes.c_int64, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_float, ctypes.c_int32,
    )  # fmt: skip
    lib.maeum_dropout.restype = None
    return lib.maeum_dropout


class _Dropped(torch.autograd.Function):
    """A mask that its seed stands for: nothing is kept for the gradient, which is masked in the same way."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, kernel: Any, seed: int, dropped: int) -> Tensor:
        ctx.mask = kernel, seed, dropped
        input = input.contiguous()
        out = torch.empty_like(input)
        scale = _NUMBERS / (_NUMBERS - dropped)
        kernel(
            input.data_ptr(), out.data_ptr(), input.numel(), seed % (1 << 64), dropped, scale, torch.get_num_threads()
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Dropped.apply(grads[0], *ctx.mask), None, None, None  # type: ignore[no-untyped-call]
