"""The sparse operators in C++ (`kernels`), for fp32 and, where the processor multiplies it, bf16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from maeum.sparse.base import AttentionWeights, ConvNorm, learns, normalise, running, scale_and_bias
from maeum.sparse.kernels import LANES, Kernels, Packed, Plan, padded, row_dtype
from maeum.sparse.portable_ops import PortableOps


class _CachedWeights(NamedTuple):
    """A layer's weights as they were packed, and what they were packed from."""

    versions: tuple[object, ...]
    sources: list[Tensor]  # held, so that no other tensor can come to lie where they lie
    packed: Packed | Tensor
    bias: Tensor


class NativeOps(PortableOps):
    """In C++.

    Outside training, batch norm is folded into weights, which are packed once, and again after PyTorch has changed
    them: a change behind its back (through ``.data``, or NumPy) is not seen.
    """

    name = "native"

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        self._cache: WeakKeyDictionary[nn.Module, _CachedWeights] = WeakKeyDictionary()

    def stem(self, maps: Tensor, first: ConvNorm, rest: Sequence[ConvNorm]) -> Tensor:
        """See `ReferenceOps.stem`."""
        bf16 = self._in_bf16(maps)
        learning = learns((maps,), (first, *rest))
        conv, norm = first
        square = (
            conv.kernel_size[0] == conv.kernel_size[1] == 2 * int(conv.padding[0]) + 1 == 2 * int(conv.padding[1]) + 1
        )
        if bf16 is None or not square or not rest or not self._fits(rest, learning):
            return super().stem(maps, first, rest)
        if not learning:
            maps = self._first(maps, conv, norm, bf16)
        else:
            maps = norm(conv(maps.contiguous(memory_format=torch.channels_last))).relu_()
            maps = F.max_pool2d(maps, 2)
        n, _, height, width = maps.shape
        plan = self._kernels.plan(None, (n, height, width))
        if not learning:
            return self._folded(maps, plan, None, rest, bf16)
        rows = _Gather.apply(self._kernels, plan, bf16, maps, None)  # type: ignore[no-untyped-call]
        for conv, norm in rest:
            rows = _Convolve.apply(self._kernels, plan, bf16, rows, conv.weight, conv.bias)  # type: ignore[no-untyped-call]
            rows = _as_rows(norm(_as_picture(rows)).relu_())
        return _as_maps(rows, plan)

    def attend(self, maps: Tensor, mask: Tensor, weights: AttentionWeights) -> Tensor:
        """See `ReferenceOps.attend`."""
        bf16 = self._in_bf16(maps)
        if bf16 is None or learns((maps, *weights), ()):
            return super().attend(maps, mask, weights)
        hidden, channels = weights.w_map.shape
        more, wider, dtype = padded(channels) - channels, padded(hidden) - hidden, row_dtype(bf16)
        scale, shift = weights.scale.float(), weights.shift.float()
        added = scale * weights.bias.float() + shift
        modulation = torch.stack((scale.expand(len(maps), -1), added.expand(len(maps), -1)))
        modulation = F.pad(modulation, (0, wider)).contiguous()
        w_map = F.pad(weights.w_map.to(dtype), (0, more, 0, wider))
        rows = _channels_last(maps).to(dtype)
        rows = F.pad(rows, (0, more)) if more else rows
        per = 2 if bf16 else 1
        packed = torch.cat([
            part.view(len(part), -1, per).transpose(0, 1).flatten() for part in torch.split(w_map, self._kernels.panel)
        ])  # fmt: skip
        w = F.pad(weights.w.float(), (0, wider)).contiguous()
        return self._kernels.attend(rows, mask, packed, modulation, w)

    def top_p(self, probs: Tensor, mask: Tensor, p: float, preference: Tensor | None = None) -> Tensor:
        """See `ReferenceOps.top_p`."""
        if p >= 1 or probs.dtype != torch.float32 or self._in_bf16(probs) is None:
            return super().top_p(probs, mask, p, preference)
        return self._kernels.top_p(probs.detach(), mask, p, preference)

    def conv_block(self, maps: Tensor, selected: Tensor, gate: Tensor | None, layers: Sequence[ConvNorm]) -> Tensor:
        """See `ReferenceOps.conv_block`."""
        bf16 = self._in_bf16(maps)
        learning = learns((maps,) if gate is None else (maps, gate), layers)
        if bf16 is None or not self._fits(layers, learning):
            return super().conv_block(maps, selected, gate, layers)
        n, height, width = selected.shape
        plan = self._kernels.plan(selected, (n, height, width))
        if not learning:
            return self._folded(maps, plan, gate, layers, bf16)
        rows = _Gather.apply(self._kernels, plan, bf16, maps, gate)  # type: ignore[no-untyped-call]
        for conv, norm in layers:
            rows = _Convolve.apply(self._kernels, plan, bf16, rows, conv.weight, None)  # type: ignore[no-untyped-call]
            rows = _as_rows(normalise(norm, _as_picture(rows), len(rows)).relu_())
        return _as_maps(_Place.apply(self._kernels, plan, rows), plan)  # type: ignore[no-untyped-call]

    def max_pool(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `ReferenceOps.max_pool`."""
        usable = maps.dtype == torch.float32 or (maps.dtype == torch.bfloat16 and self._kernels.has_bf16)
        if self._in_bf16(maps) is None or not usable or maps.shape[1] % LANES:
            return super().max_pool(maps, mask)
        pooled, pooled_mask = _Pool.apply(self._kernels, _channels_last(maps), mask.contiguous())  # type: ignore[no-untyped-call]
        return pooled.permute(0, 3, 1, 2), pooled_mask

    def _in_bf16(self, maps: Tensor) -> bool | None:
        """Whether to compute in bf16; None where these kernels cannot be used."""
        if maps.device.type != "cpu" or torch.compiler.is_compiling():
            return None
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else maps.dtype
        if dtype == torch.float32 and maps.dtype == torch.float32:
            return False
        usable = dtype == torch.bfloat16 and maps.dtype in (torch.float32, torch.bfloat16) and self._kernels.has_bf16
        return True if usable else None

    def _fits(self, layers: Sequence[ConvNorm], learning: bool) -> bool:
        """Whether the kernels are made for these layers; gradients only of channels that are whole vectors."""
        return all(
            conv.kernel_size == (3, 3)
            and not (learning and (conv.in_channels % LANES or conv.out_channels % LANES))
            and not (learning and conv.weight.dtype != torch.float32)
            for conv, _ in layers
        )

    def _folded(self, maps: Tensor, plan: Plan, gate: Tensor | None, layers: Sequence[ConvNorm], bf16: bool) -> Tensor:
        """Through all layers, outside training."""
        dtype = row_dtype(bf16)
        values = _channels_last(maps).flatten(0, 2)
        rows = values
        if gate is not None or len(plan.positions) < len(values) or values.dtype != dtype or values.shape[1] % LANES:
            rows = self._kernels.buffer("given", (len(plan.positions), padded(values.shape[1])), dtype)
            self._kernels.gather(values, plan.positions, _flat(gate), rows)
        for number, (conv, norm) in enumerate(layers):
            last, channels = number == len(layers) - 1, padded(conv.out_channels)
            if last:
                out = torch.empty(len(plan.numbers), channels, dtype=dtype)
            else:
                out = self._kernels.buffer(f"made{number % 2}", (len(rows), channels), dtype)
            packed, bias = self._packed(conv, norm, bf16)
            assert isinstance(packed, Packed)
            rows = self._kernels.convolve(plan, rows, packed, bias, out, relu=True, dense=last)
        return _as_maps(rows[:, : layers[-1][0].out_channels], plan)

    def _first(self, maps: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d, bf16: bool) -> Tensor:
        """The stem's first convolution and its pooling, outside training; channels may be padded."""
        n, _, height, width = maps.shape
        packed, bias = self._packed(conv, norm, bf16, first=True)
        assert isinstance(packed, Tensor)
        out = self._kernels.buffer("first", (n, height // 2, width // 2, len(bias)), row_dtype(bf16))
        self._kernels.first(maps.float().contiguous(), packed, bias, conv.kernel_size[0], out)
        return out.permute(0, 3, 1, 2)

    def _packed(
        self, conv: nn.Conv2d, norm: nn.BatchNorm2d, bf16: bool, *, first: bool = False
    ) -> tuple[Packed | Tensor, Tensor]:
        """Weights with the norm folded in, and bias; cached until one of them changes."""
        given = (conv.weight, conv.bias, norm.weight, norm.bias, *running(norm))
        sources = [t.detach() for t in given if t is not None]
        tracked = not any(t.is_inference() for t in sources)
        versions = (bf16, norm.eps, *((t.data_ptr(), t._version if tracked else 0) for t in sources))
        old = self._cache.get(conv)
        if old is not None and tracked and old.versions == versions:
            return old.packed, old.bias
        scale, bias = (t.float() for t in scale_and_bias(conv, norm))
        more = padded(len(bias)) - len(bias)
        packed: Packed | Tensor
        if first:
            weight = conv.weight.detach().float() * scale.view(-1, 1, 1, 1)
            packed = self._kernels.pack_first(F.pad(weight, (0, 0, 0, 0, 0, 0, 0, more)), bf16=bf16)
        else:
            packed = self._kernels.pack(conv.weight, scale, bf16=bf16)
        self._cache[conv] = made = _CachedWeights(versions, sources, packed, F.pad(bias, (0, more)))
        return made.packed, made.bias


class _Gather(Function):
    """Maps ``(n, channels, h, w)`` and their gate ``(n, h, w)`` -> rows of a plan's positions."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, plan: Plan, bf16: bool, maps: Tensor, gate: Tensor | None) -> Tensor:
        values, flat = _channels_last(maps).flatten(0, 2), _flat(gate)
        ctx.kernels, ctx.plan = kernels, plan
        ctx.gate_dtype = None if gate is None else gate.dtype
        ctx.save_for_backward(values, flat)
        out = torch.empty(len(plan.positions), values.shape[1], dtype=row_dtype(bf16))
        return kernels.gather(values, plan.positions, flat, out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None, Tensor, Tensor | None]:
        values, gate = ctx.saved_tensors
        of_values, of_gate = ctx.kernels.ungather(gradient.contiguous(), ctx.plan, gate, values)
        if of_gate is not None:
            of_gate = of_gate.view(ctx.plan.shape).to(ctx.gate_dtype)
        return None, None, None, _as_maps(of_values, ctx.plan), of_gate


class _Convolve(Function):
    """Rows through a submanifold convolution with ``weight (out, in, 3, 3)``."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, plan: Plan, bf16: bool, rows: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        rows = rows.to(row_dtype(bf16)).contiguous()
        ctx.kernels, ctx.plan, ctx.bf16 = kernels, plan, bf16
        ctx.save_for_backward(rows, weight)
        packed = kernels.pack(weight, None, plan=plan, bf16=bf16)
        out = torch.empty(len(rows), len(weight), dtype=rows.dtype)
        bias = None if bias is None else bias.detach().float().contiguous()
        return kernels.convolve(plan, rows, packed, bias, out, relu=False, dense=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        rows, weight = ctx.saved_tensors
        kernels, plan, bf16 = ctx.kernels, ctx.plan, ctx.bf16
        gradient = gradient.to(rows.dtype).contiguous()
        of_rows = of_weight = of_bias = None
        if ctx.needs_input_grad[3]:
            packed = kernels.pack(weight, None, plan=plan, turned=True, bf16=bf16)
            of_rows = kernels.convolve(plan, gradient, packed, None, torch.empty_like(rows), relu=False, dense=False)
        if ctx.needs_input_grad[4]:
            of_weight = kernels.gradient(plan, rows, gradient)
        if ctx.needs_input_grad[5]:
            of_bias = gradient.sum(0, dtype=torch.float32)
        return None, None, None, of_rows, of_weight, of_bias


class _Place(Function):
    """Rows -> ``(all positions, channels)``."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, plan: Plan, rows: Tensor) -> Tensor:
        ctx.kernels, ctx.plan = kernels, plan
        return kernels.place(rows.contiguous(), plan, rows.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:
        out = gradient.new_empty(len(ctx.plan.positions), gradient.shape[1])
        return None, None, ctx.kernels.gather(gradient.contiguous(), ctx.plan.positions, None, out)


class _Pool(Function):
    """Maps ``(n, h, w, channels)`` and mask, pooled."""

    @staticmethod
    def forward(ctx: Any, kernels: Kernels, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        ctx.kernels = kernels
        ctx.save_for_backward(maps, mask)
        pooled, pooled_mask = kernels.pool(maps, mask)
        ctx.mark_non_differentiable(pooled_mask)
        return pooled, pooled_mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[None, Tensor, None]:
        maps, mask = ctx.saved_tensors
        return None, ctx.kernels.unpool(maps, mask, gradient.to(maps.dtype).contiguous()), None


def _channels_last(maps: Tensor) -> Tensor:
    """``(n, channels, h, w)`` -> ``(n, h, w, channels)``, lying so in memory."""
    return maps.permute(0, 2, 3, 1).contiguous()


def _as_maps(rows: Tensor, plan: Plan) -> Tensor:
    """``(all positions, channels)`` -> ``(n, channels, h, w)``."""
    return rows.view(*plan.shape, rows.shape[1]).permute(0, 3, 1, 2)


def _as_picture(rows: Tensor) -> Tensor:
    """``(rows, channels)`` -> ``(1, channels, rows, 1)``, for which PyTorch's batch norm is quick."""
    return rows.view(1, len(rows), 1, rows.shape[1]).permute(0, 3, 1, 2)


def _as_rows(picture: Tensor) -> Tensor:
    return picture.permute(0, 2, 3, 1).flatten(0, 2)


def _flat(gate: Tensor | None) -> Tensor | None:
    return None if gate is None else gate.detach().float().flatten().contiguous()
