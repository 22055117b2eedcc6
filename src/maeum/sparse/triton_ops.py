"""The sparse operators in Triton, for fp32 on a GPU. NOT VERIFIED ON A GPU: tested in Triton's interpreter alone.

Needs the package ``triton`` (extra ``gpu``). With ``TRITON_INTERPRET=1`` the kernels run, slowly, on CPU tensors.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from maeum.sparse.base import AttentionWeights, learns
from maeum.sparse.portable_ops import PortableOps

#: What a program computes at a time: sites, channels (or sites) that are summed over, channels that come out. Powers of
#: 2, at least 16; with these, nothing spills from the registers of compute capability 8.0.
_SITES, _IN, _OUT = 64, 16, 64
#: Positions of a map up to which one program takes its softmax.
_MOST_POSITIONS = 1 << 14
#: Programs that the gradient of weights is divided into, about; and the fewest sites that one of them sums over.
_PROGRAMS, _LEAST_SITES = 512, 1024


class TritonOps(PortableOps):
    """In Triton: convolutions at active sites, their gradients, and attention outside training; else as `PortableOps`.

    Products are fp32 in full (not TF32). Other precisions, and what runs under ``torch.compile``, are handed on.
    """

    name = "triton"

    def attend(self, maps: Tensor, mask: Tensor, weights: AttentionWeights) -> Tensor:
        """See `ReferenceOps.attend`."""
        fits = 0 < mask.shape[1:].numel() <= _MOST_POSITIONS
        if not fits or not _usable(maps, *weights) or learns((maps, *weights), ()):
            return super().attend(maps, mask, weights)
        flat = maps.flatten(2)  # (n, channels, positions)
        n, channels, positions = flat.shape
        hidden = len(weights.w)
        scale, shift = (t.expand(n, hidden).contiguous() for t in (weights.scale, weights.shift))
        w_map, bias, w = weights.w_map.contiguous(), weights.bias.contiguous(), weights.w.contiguous()
        scores, probs = maps.new_empty(n, positions), maps.new_empty(mask.shape)
        with torch.cuda.device_of(maps):
            _score[n, triton.cdiv(positions, _SITES)](
                flat, w_map, bias, w, scale, shift, scores, positions, channels, hidden, *flat.stride(),
                _SITES, _IN, _OUT,
            )  # fmt: skip
            _softmax[n,](scores, mask.contiguous(), probs, positions, triton.next_power_of_2(positions))
        return probs

    def convolve(self, rows: Tensor, around: Tensor, weight: Tensor) -> Tensor:
        """See `PortableOps.convolve`."""
        if not _usable(rows, weight):
            return super().convolve(rows, around, weight)
        return _Convolve.apply(rows, around, weight)  # type: ignore[no-any-return]

    def convolve_folded(self, rows: Tensor, around: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See `PortableOps.convolve_folded`."""
        if not _usable(rows, weight, bias):
            return super().convolve_folded(rows, around, weight, bias)
        return _convolved(rows, around, weight, bias)


class _Convolve(Function):
    """Rows ``(sites, in)`` through a submanifold convolution with ``weight (out, in, 3, 3)``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, around: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, around, weight)
        return _convolved(rows, around, weight, None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        rows, around, weight = ctx.saved_tensors
        of_rows = of_weight = None
        if ctx.needs_input_grad[0]:
            # Who is my neighbour at an offset has me at the opposite one.
            of_rows = _convolved(gradient, around, weight.flip(2, 3).transpose(0, 1), None)
        if ctx.needs_input_grad[2]:
            of_weight = _weight_gradient(rows, around, gradient)
        return of_rows, None, of_weight


def _usable(*tensors: Tensor) -> bool:
    """Whether kernels can compute with these: fp32, on a GPU or interpreted."""
    device = tensors[0].device.type
    return (
        all(t.dtype == torch.float32 for t in tensors)
        and (device == "cuda" or _INTERPRETED)
        and not torch.is_autocast_enabled(device)
        and not torch.compiler.is_compiling()
    )


def _convolved(rows: Tensor, around: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Rows convolved with ``weight (out, in, 3, 3)``; where valid is a bias, ReLU follows."""
    out, in_ = weight.shape[:2]
    rows, weight = rows.contiguous(), weight.permute(2, 3, 1, 0).contiguous()
    made = rows.new_empty(len(rows), out)
    with torch.cuda.device_of(rows):
        _convolve[triton.cdiv(len(rows), _SITES), triton.cdiv(out, _OUT)](
            rows, around, weight, weight if bias is None else bias, made, len(rows), in_, out,
            bias is not None, _SITES, _IN, _OUT,
        )  # fmt: skip
    return made


def _weight_gradient(rows: Tensor, around: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of weights ``(out, in, 3, 3)``, by input rows and the gradient of the output."""
    rows, gradient = rows.contiguous(), gradient.contiguous()
    in_, out = rows.shape[1], gradient.shape[1]
    tiles = triton.cdiv(in_, _OUT) * triton.cdiv(out, _OUT)
    # Parts of the sites are summed apart: as many as fill a GPU. Added up in order, so that answers are the same again.
    parts = max(1, min(triton.cdiv(len(rows), _LEAST_SITES), _PROGRAMS // (9 * tiles)))
    sums = rows.new_empty(parts, 9, in_, out)
    with torch.cuda.device_of(rows):
        _of_weight[9 * tiles, parts](
            rows, around, gradient, sums, len(rows), triton.cdiv(len(rows), parts), in_, out, _IN, _OUT
        )
    return sums.sum(0).view(3, 3, in_, out).permute(3, 2, 0, 1)


@triton.jit
def _convolve(
    rows, around, weight, bias, made, count, channels_in, channels_out,
    FOLDED: tl.constexpr, SITES: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    """SITES rows by OUT channels of ``made (count, channels_out)``; ``weight (9, channels_in, channels_out)``."""
    site = tl.program_id(0).to(tl.int64) * SITES + tl.arange(0, SITES)
    to = tl.program_id(1) * OUT + tl.arange(0, OUT)
    total = tl.zeros((SITES, OUT), tl.float32)
    for offset in range(9):
        near = tl.load(around + site * 9 + offset, mask=site < count, other=count)  # count stands for none
        for start in range(0, channels_in, IN):
            channel = start + tl.arange(0, IN)
            valid = (near < count)[:, None] & (channel < channels_in)[None, :]
            given = tl.load(rows + near[:, None] * channels_in + channel[None, :], mask=valid, other=0.0)
            valid = (channel < channels_in)[:, None] & (to < channels_out)[None, :]
            by = weight + (offset * channels_in + channel)[:, None] * channels_out + to[None, :]
            total = tl.dot(given, tl.load(by, mask=valid, other=0.0), total, input_precision="ieee")
    if FOLDED:
        total = tl.maximum(total + tl.load(bias + to, mask=to < channels_out, other=0.0)[None, :], 0.0)
    valid = (site < count)[:, None] & (to < channels_out)[None, :]
    tl.store(made + site[:, None] * channels_out + to[None, :], total, mask=valid)


@triton.jit
def _of_weight(
    rows, around, gradient, sums, count, part, channels_in, channels_out, SITES: tl.constexpr, OUT: tl.constexpr
):
    """OUT by OUT channels of ``sums (parts, 9, channels_in, channels_out)``, at one offset, over ``part`` sites."""
    across, down = tl.cdiv(channels_out, OUT), tl.cdiv(channels_in, OUT)
    offset = tl.program_id(0) // (across * down)
    of = tl.program_id(0) // across % down * OUT + tl.arange(0, OUT)
    to = tl.program_id(0) % across * OUT + tl.arange(0, OUT)
    first = tl.program_id(1).to(tl.int64) * part
    last = tl.minimum(first + part, count)
    total = tl.zeros((OUT, OUT), tl.float32)
    for start in range(0, part, SITES):
        site = first + start + tl.arange(0, SITES)
        near = tl.load(around + site * 9 + offset, mask=site < last, other=count)
        valid = (of < channels_in)[:, None] & (near < count)[None, :]
        given = tl.load(rows + near[None, :] * channels_in + of[:, None], mask=valid, other=0.0)
        valid = (site < last)[:, None] & (to < channels_out)[None, :]
        wanted = tl.load(gradient + site[:, None] * channels_out + to[None, :], mask=valid, other=0.0)
        total = tl.dot(given, wanted, total, input_precision="ieee")
    place = ((tl.program_id(1) * 9 + offset) * channels_in + of)[:, None] * channels_out + to[None, :]
    tl.store(sums + place, total, mask=(of < channels_in)[:, None] & (to < channels_out)[None, :])


@triton.jit
def _score(
    maps, w_map, bias, w, scale, shift, scores, positions, channels, hidden, stride_n, stride_c, stride_p,
    SITES: tl.constexpr, IN: tl.constexpr, OUT: tl.constexpr,
):  # fmt: skip
    """Attention's scores at SITES positions of a map; see `reference.attention_scores`."""
    frame = tl.program_id(0).to(tl.int64)
    position = tl.program_id(1) * SITES + tl.arange(0, SITES)
    score = tl.zeros((SITES,), tl.float32)
    for begin in range(0, hidden, OUT):
        to = begin + tl.arange(0, OUT)
        total = tl.zeros((SITES, OUT), tl.float32)
        for start in range(0, channels, IN):
            channel = start + tl.arange(0, IN)
            at = maps + frame * stride_n + position[:, None] * stride_p + channel[None, :] * stride_c
            valid = (position < positions)[:, None] & (channel < channels)[None, :]
            given = tl.load(at, mask=valid, other=0.0)
            valid = (channel < channels)[:, None] & (to < hidden)[None, :]
            by = tl.load(w_map + to[None, :] * channels + channel[:, None], mask=valid, other=0.0)
            total = tl.dot(given, by, total, input_precision="ieee")
        valid = to < hidden
        total += tl.load(bias + to, mask=valid, other=0.0)[None, :]
        total *= tl.load(scale + frame * hidden + to, mask=valid, other=0.0)[None, :]
        total += tl.load(shift + frame * hidden + to, mask=valid, other=0.0)[None, :]
        less = tl.exp(-2 * tl.abs(total))  # so no exponential overflows
        size = (1 - less) / (1 + less)
        score += tl.sum(tl.where(total < 0, -size, size) * tl.load(w + to, mask=valid, other=0.0)[None, :], 1)
    tl.store(scores + frame * positions + position, score, mask=position < positions)


@triton.jit
def _softmax(scores, mask, probs, positions, POSITIONS: tl.constexpr):
    """Softmax over the active positions of a map; see `reference.masked_softmax`."""
    position = tl.arange(0, POSITIONS)
    at = tl.program_id(0).to(tl.int64) * positions + position
    active = tl.load(mask + at, mask=position < positions, other=0) != 0
    score = tl.load(scores + at, mask=active, other=-3e38)
    share = tl.where(active, tl.exp(score - tl.max(score, 0)), 0.0)
    total = tl.sum(share, 0)
    tl.store(probs + at, share / tl.where(total == 0, 1.0, total), mask=position < positions)


_INTERPRETED = not isinstance(_convolve, triton.JITFunction)
