"""The sparse operators at active sites alone, in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maeum.sparse.base import ConvNorm, ReferenceOps, learns, normalise, scale_and_bias

#: Sites whose neighbourhoods are laid out at a time.
_PART = 512


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

    def conv_block(self, maps: Tensor, selected: Tensor, gate: Tensor | None, layers: Sequence[ConvNorm]) -> Tensor:
        """See `ReferenceOps.conv_block`."""
        sites = selected.flatten().nonzero()[:, 0]
        learning = learns((maps,) if gate is None else (maps, gate), layers)
        if len(sites) >= self.dense_from * selected.numel():
            if learning:
                return super().conv_block(maps, selected, gate, layers)
            mask = selected.unsqueeze(1).to(maps.dtype)
            maps = (maps * (mask if gate is None else mask * gate.unsqueeze(1))).to(maps.dtype)
            maps = maps.contiguous(memory_format=torch.channels_last)
            for layer in layers:
                maps = _dense(maps, *layer).mul_(mask)
            return maps
        n, _, height, width = maps.shape
        rows = maps.permute(0, 2, 3, 1).flatten(0, 2)[sites]
        if gate is not None:
            rows = (rows * gate.flatten()[sites].unsqueeze(1)).to(rows.dtype)
        around = neighbours(selected, sites)
        for conv, norm in layers:
            if learning:
                rows = self.convolve(rows, around, conv.weight)
                rows = normalise(norm, rows, len(rows)).relu()
            else:
                rows = self.convolve_folded(rows, around, *folded(conv, norm))
        made = rows.new_zeros(selected.numel(), rows.shape[1]).index_put((sites,), rows)
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
