"""The sparse operators that MESM calls, in four forms with the same answers, and which of them is used.

`ReferenceOps` is the definition. `PortableOps` computes at active sites alone, in PyTorch. `NativeOps` (`native_ops`)
does so in C++, `TritonOps` (`triton_ops`) on a GPU. Each hands on what it is not made for: the last two to PyTorch.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maeum.errors import ConfigError
from maeum.native import broken, missing
from maeum.sparse import reference

#: Sites whose neighbourhoods are laid out at a time.
_PART = 512
#: A convolution and the batch norm over its active sites; ReLU follows.
ConvNorm = tuple[nn.Conv2d, nn.BatchNorm2d]


class AttentionWeights(NamedTuple):
    """What attention's scores are computed by; see `reference.attention_scores`."""

    w_map: Tensor  # (hidden, channels)
    bias: Tensor  # (hidden,)
    w: Tensor  # (hidden,)
    scale: Tensor  # (n or 1, hidden)
    shift: Tensor  # (n or 1, hidden)


class ReferenceOps:
    """The operators as `reference` defines them.

    Maps are ``(n, channels, h, w)``, masks ``(n, h, w)`` bool. Maps are zero at inactive sites on the way out.
    """

    name = "reference"

    def stem(self, maps: Tensor, first: ConvNorm, rest: Sequence[ConvNorm]) -> Tensor:
        """The dense layers below the first selection: a convolution, max-pool 2x2, then 3x3 convolutions.

        Args:
            maps: ``(n, in, h, w)``.
            first: with batch norm and ReLU, before the pooling.
            rest: each with batch norm and ReLU.

        Returns:
            ``(n, out, h // 2, w // 2)``.
        """
        conv, norm = first
        maps = F.max_pool2d(norm(conv(maps)).relu_(), 2)
        for conv, norm in rest:
            maps = norm(conv(maps)).relu_()
        return maps

    def attend(self, maps: Tensor, mask: Tensor, weights: AttentionWeights) -> Tensor:
        """How much each active position is asked for: probabilities ``(n, h, w)``."""
        return reference.masked_softmax(reference.attention_scores(maps, *weights), mask)

    def top_p(self, probs: Tensor, mask: Tensor, p: float, preference: Tensor | None = None) -> Tensor:
        """The active positions that are kept, ``(n, h, w)``; see `reference.top_p_mask`."""
        return reference.top_p_mask(probs, mask, p, preference)

    def conv_block(self, maps: Tensor, keep: Tensor, gate: Tensor | None, layers: Sequence[ConvNorm]) -> Tensor:
        """Submanifold convolutions, each with batch norm and ReLU, over the kept positions of ``maps``.

        Args:
            maps: ``(n, in, h, w)``; what lies outside ``keep`` is not looked at.
            keep: ``(n, h, w)`` bool.
            gate: what each position is multiplied by first, ``(n, h, w)``; None leaves them as they are.
            layers: each normalises by the batch where its norm is in training.

        Returns:
            ``(n, out, h, w)``, zero outside ``keep``.
        """
        maps = maps * (keep.to(maps.dtype) if gate is None else keep * gate).unsqueeze(1)
        for conv, norm in layers:
            maps = reference.submanifold_conv2d(maps, keep, conv.weight)
            maps = reference.sparse_batch_norm(
                maps, keep, *running(norm), norm.weight, norm.bias, training=norm.training, eps=norm.eps
            ).relu()
        return maps

    def max_pool(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Max-pool 2x2 over active sites, and their mask; see `reference.sparse_max_pool2d`."""
        return reference.sparse_max_pool2d(maps, mask)


class PortableOps(ReferenceOps):
    """In PyTorch: a matrix product over the neighbourhoods of active sites, or a dense convolution that is masked."""

    name = "portable"
    #: Share of active sites from which the dense convolution is the quicker one (docs/results/mesm-speed.md).
    dense_from = 0.6

    def stem(self, maps: Tensor, first: ConvNorm, rest: Sequence[ConvNorm]) -> Tensor:
        """See `ReferenceOps.stem`."""
        maps = maps.contiguous(memory_format=torch.channels_last)
        if learns((maps,), (first, *rest)):
            return super().stem(maps, first, rest)
        maps = F.max_pool2d(_dense(maps, *first), 2)
        for layer in rest:
            maps = _dense(maps, *layer)
        return maps

    def conv_block(self, maps: Tensor, keep: Tensor, gate: Tensor | None, layers: Sequence[ConvNorm]) -> Tensor:
        """See `ReferenceOps.conv_block`."""
        sites = keep.flatten().nonzero()[:, 0]
        learning = learns((maps,) if gate is None else (maps, gate), layers)
        if len(sites) >= self.dense_from * keep.numel():
            if learning:
                return super().conv_block(maps, keep, gate, layers)
            mask = keep.unsqueeze(1).to(maps.dtype)
            maps = (maps * (mask if gate is None else mask * gate.unsqueeze(1))).to(maps.dtype)
            maps = maps.contiguous(memory_format=torch.channels_last)
            for layer in layers:
                maps = _dense(maps, *layer).mul_(mask)
            return maps
        n, _, height, width = maps.shape
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)[sites]
        if gate is not None:
            rows = (rows * gate.flatten()[sites].unsqueeze(1)).to(rows.dtype)
        around = neighbours(keep, sites)
        for conv, norm in layers:
            if learning:
                rows = self.convolve(rows, around, conv.weight)
                rows = normalise(norm, rows, len(rows)).relu()
            else:
                rows = self.convolve_folded(rows, around, *folded(conv, norm))
        made = rows.new_zeros(keep.numel(), rows.shape[1]).index_put((sites,), rows)
        return made.view(n, height, width, rows.shape[1]).permute(0, 3, 1, 2)

    def convolve(self, rows: Tensor, around: Tensor, weight: Tensor) -> Tensor:
        """A 3x3 convolution of ``rows (sites, in)`` whose `neighbours` are given, with its gradients."""
        given = torch.cat((rows, rows.new_zeros(1, rows.shape[1])))
        return F.linear(given[around].flatten(1), _by_offset(weight))

    def convolve_folded(self, rows: Tensor, around: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The same with bias and ReLU, outside training."""
        given, weight = torch.cat((rows, rows.new_zeros(1, rows.shape[1]))), _by_offset(weight)
        # A part at a time, whose neighbourhoods stay in the cache.
        parts = [F.linear(given[some].flatten(1), weight, bias).relu_() for some in torch.split(around, _PART)]
        return torch.cat(parts)


def learns(tensors: Sequence[Tensor], layers: Sequence[ConvNorm]) -> bool:
    """Whether statistics are taken, or gradients will be asked for."""
    if any(norm.training for _, norm in layers):
        return True
    parameters = (p for layer in layers for module in layer for p in module.parameters())
    return torch.is_grad_enabled() and any(t.requires_grad for t in (*tensors, *parameters))


def scale_and_bias(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What each output channel of ``conv`` is multiplied by, and what is added, in place of the norm; fp32 or more."""
    parameters = [t.detach() for t in (norm.weight, norm.bias, *running(norm))]
    weight, bias, mean, var = parameters if norm.weight.dtype == torch.float64 else [t.float() for t in parameters]
    scale = weight * (var + norm.eps).rsqrt()
    bias = bias - mean * scale
    return scale, bias if conv.bias is None else bias + conv.bias.detach() * scale


def folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution with the norm in it."""
    scale, bias = scale_and_bias(conv, norm)
    weight = conv.weight.detach() * scale.view(-1, 1, 1, 1)
    return weight.to(conv.weight.dtype), bias.to(conv.weight.dtype)


def _dense(maps: Tensor, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> Tensor:
    """Convolution, norm and ReLU, outside training."""
    weight, bias = folded(conv, norm)
    return F.conv2d(maps, weight.contiguous(memory_format=torch.channels_last), bias, padding=conv.padding).relu_()


def _by_offset(weight: Tensor) -> Tensor:
    """``(out, in, 3, 3)`` -> ``(out, 9 in)``."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def neighbours(mask: Tensor, sites: Tensor) -> Tensor:
    """Which active sites lie in the 3x3 around each, row by row; the number of sites stands for none.

    Args:
        mask: ``(n, h, w)`` bool.
        sites: its active positions in the flattened mask, ascending, ``(sites,)``.

    Returns:
        ``(sites, 9)``.
    """
    n, height, width = mask.shape
    numbers = torch.full((n * height * width,), len(sites), device=mask.device)
    numbers[sites] = torch.arange(len(sites), device=mask.device)
    padded = F.pad(numbers.view(n, height, width), (1, 1, 1, 1), value=len(sites)).flatten()
    corner = sites // width * (width + 2) + sites // (height * width) * 2 * (width + 2) + sites % width
    steps = torch.arange(3, device=mask.device)
    return padded[corner.unsqueeze(1) + (steps.unsqueeze(1) * (width + 2) + steps).flatten()]


def normalise(norm: nn.BatchNorm2d, features: Tensor, sites: int) -> Tensor:
    """Batch norm of ``features (n, channels, ...)`` of so many sites, as `reference.sparse_batch_norm` has it."""
    use_batch = norm.training and sites > 1
    return F.batch_norm(features, *running(norm), norm.weight, norm.bias, use_batch, 0.1, norm.eps)


def running(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A norm's mean and variance."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


@cache
def operators() -> ReferenceOps:
    """The form that is used: ``MAEUM_SPARSE`` (reference, portable, native, triton), else native or portable.

    ``triton`` is used only where it is asked for, as long as no GPU has verified it. Warns once when kernels could not
    be made although there is a compiler.

    Raises:
        ConfigError: for another name, or when ``native`` or ``triton`` is asked for and cannot be had.
    """
    from maeum.sparse.kernels import kernels
    from maeum.sparse.native_ops import NativeOps

    wanted = os.environ.get("MAEUM_SPARSE") or None
    if wanted == "reference":
        return ReferenceOps()
    if wanted == "portable":
        return PortableOps()
    if wanted == "triton":
        try:
            from maeum.sparse.triton_ops import TritonOps
        except ImportError as error:
            remedy = "On Linux, run `pip install 'maeum[gpu]'`."
            raise ConfigError(f"no triton: {error}", item="MAEUM_SPARSE=triton", remedy=remedy) from error
        return TritonOps()
    if wanted not in (None, "native"):
        raise ConfigError(f"is {wanted!r}", item="MAEUM_SPARSE", remedy="Use reference, portable, native or triton.")
    native = kernels()
    if native is not None:
        return NativeOps(native)
    if wanted == "native":
        raise ConfigError(f"no native kernels: {missing('sparse')}", item="MAEUM_SPARSE=native")
    if broken("sparse"):
        warnings.warn(f"MESM runs without its kernels in C++: {missing('sparse')}", stacklevel=2)
    return PortableOps()
