"""The interface of the sparse operators, by the form that defines them, and what other forms share.

`ReferenceOps` computes what `reference` defines. The other forms give the same answers and inherit from it: what they
are not made for, they hand on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maeum.sparse import reference

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
        """The attention to each active position: probabilities ``(n, h, w)``."""
        return reference.masked_softmax(reference.attention_scores(maps, *weights), mask)

    def top_p(self, probs: Tensor, mask: Tensor, p: float, preference: Tensor | None = None) -> Tensor:
        """The selected ones of the active positions, ``(n, h, w)``; see `reference.top_p_mask`."""
        return reference.top_p_mask(probs, mask, p, preference)

    def conv_block(self, maps: Tensor, selected: Tensor, gate: Tensor | None, layers: Sequence[ConvNorm]) -> Tensor:
        """Submanifold convolutions, each with batch norm and ReLU, over the selected positions of ``maps``.

        Args:
            maps: ``(n, in, h, w)``; what lies outside ``selected`` is not looked at.
            selected: ``(n, h, w)`` bool.
            gate: what each position is multiplied by first, ``(n, h, w)``; None leaves them as they are.
            layers: each normalises by the batch where its norm is in training.

        Returns:
            ``(n, out, h, w)``, zero outside ``selected``.
        """
        maps = maps * (selected.to(maps.dtype) if gate is None else selected * gate).unsqueeze(1)
        for conv, norm in layers:
            maps = reference.submanifold_conv2d(maps, selected, conv.weight)
            maps = reference.sparse_batch_norm(
                maps, selected, *running(norm), norm.weight, norm.bias, training=norm.training, eps=norm.eps
            ).relu()
        return maps

    def max_pool(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Max-pool 2x2 over active sites, and their mask; see `reference.sparse_max_pool2d`."""
        return reference.sparse_max_pool2d(maps, mask)


def learns(tensors: Sequence[Tensor], layers: Sequence[ConvNorm]) -> bool:
    """Whether batch statistics are taken or gradients computed."""
    if any(norm.training for _, norm in layers):
        return True
    parameters = (p for layer in layers for module in layer for p in module.parameters())
    return torch.is_grad_enabled() and any(t.requires_grad for t in (*tensors, *parameters))


def running(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A norm's mean and variance."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def normalise(norm: nn.BatchNorm2d, features: Tensor, sites: int) -> Tensor:
    """Batch norm of ``features (n, channels, ...)`` of so many sites, as `reference.sparse_batch_norm` has it."""
    use_batch = norm.training and sites > 1
    return F.batch_norm(features, *running(norm), norm.weight, norm.bias, use_batch, 0.1, norm.eps)


def scale_and_bias(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What each output channel of ``conv`` is multiplied by, and what is added, in place of the norm; fp32 or more."""
    parameters = [t.detach() for t in (norm.weight, norm.bias, *running(norm))]
    weight, bias, mean, var = parameters if norm.weight.dtype == torch.float64 else [t.float() for t in parameters]
    scale = weight * (var + norm.eps).rsqrt()
    bias = bias - mean * scale
    return scale, bias if conv.bias is None else bias + conv.bias.detach() * scale
