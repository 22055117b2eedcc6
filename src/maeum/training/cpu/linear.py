"""Linear layers by numpy's matrix products, on processors where those are quicker (`benchmarks/mmer_parts.py`).

torch's packages for x86 multiply by MKL, which on AMD's processors (measured: Zen 3) is slower than OpenBLAS.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_CPU_INFO = Path("/proc/cpuinfo")


class Linear(nn.Linear):
    """A linear layer that multiplies by numpy within `products_of_one_thread`, in threads that torch gives no others.

    fp32 outside of autocast is multiplied so, anything else by torch. There is no second derivative of it.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Linear`."""
        if not torch.compiler.is_compiling() and _ALONE and torch.get_num_threads() == 1 and self._suits(input):
            product: Tensor = _Product.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return product
        return super().forward(input)

    def _suits(self, input: Tensor) -> bool:
        dense = input.layout == torch.strided and input.device.type == "cpu" and input.numel() > 0
        return dense and input.dtype == self.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def quicken_linear(model: nn.Module) -> None:
    """Make every `torch.nn.Linear` of a model a `Linear`."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


@contextmanager
def products_of_one_thread() -> Iterator[None]:
    """While it is entered, numpy multiplies in the thread that asks alone, and every `Linear` by numpy, if quicker."""
    if not quicker():
        yield
        return
    libraries = ThreadpoolController().select(internal_api="openblas")  # type: ignore[no-untyped-call]
    with libraries.limit(limits=1):
        _ALONE.append(True)
        try:
            yield
        finally:
            _ALONE.pop()


#: One entry for each time that `products_of_one_thread` is entered.
_ALONE: list[bool] = []


@cache
def quicker() -> bool:
    """Whether numpy multiplies by OpenBLAS and torch by MKL, on a processor by AMD."""
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {}).get("name", "")
    if "openblas" not in blas or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    described = platform.processor()
    if _CPU_INFO.exists():
        described += _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    return "AuthenticAMD" in described


class _Product(torch.autograd.Function):
    """A linear layer's product; gradients are products of one thread, too."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows = input.reshape(-1, input.shape[-1]).contiguous()
        ctx.save_for_backward(rows, weight)
        out = input.new_empty(*input.shape[:-1], len(weight))
        _multiply(rows, weight.t(), out.view(len(rows), len(weight)))
        return out if bias is None else out.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        rows, weight = ctx.saved_tensors
        slope = grads[0].reshape(-1, len(weight)).contiguous()
        of_input = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_input = _multiply(slope, weight, torch.empty_like(rows)).view(*grads[0].shape[:-1], rows.shape[-1])
        if ctx.needs_input_grad[1]:
            of_weight = _multiply(slope.t(), rows, torch.empty_like(weight, memory_format=torch.contiguous_format))
        if ctx.needs_input_grad[2]:
            of_bias = slope.sum(0)
        return of_input, of_weight, of_bias


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
    np.matmul(left.detach().numpy(), right.detach().numpy(), out=out.numpy())
    return out
