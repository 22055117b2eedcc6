"""The concordance of values with their targets, over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from maeum.training.losses.base import LOSSES, LossSetup
from maeum.training.losses.emotion import EmotionLoss, EmotionLossConfig, ranges_of, scaled

#: Added to the denominator, of values that count as 0..1: 1 / 10,000 of a range, squared.
_TINY = 1e-8


@LOSSES.register("ccc")
class Concordance(EmotionLoss[EmotionLossConfig]):
    """1 - CCC of a batch; batches of 32 and more items say more about it."""

    tasks = ("dimensional",)
    needs_mixed_lengths = True

    def __init__(self, config: EmotionLossConfig, setup: LossSetup) -> None:
        super().__init__(config, setup)
        self.ranges = ranges_of(setup)

    def compare(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `EmotionLoss`."""
        return concordance_loss(*scaled(logits, target, self.ranges))


def concordance_loss(values: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """1 - CCC of a batch, the mean over scales; Lin's concordance with variances divided by n.

    As a loss: Trigeorgis et al., "Adieu features?", ICASSP 2016. One item, or targets that are all the same, say
    nothing about concordance: the loss of such a scale is 1 and its gradient 0. A scale without targets does not count;
    without any target at all the loss is 0.

    Args:
        values: ``(n, scales)``, 0..1.
        target: likewise; not read where none is known.
        known: which targets are known, ``(n, scales)`` bool.
    """
    weight = known.to(values.dtype)
    count = weight.sum(0).clamp(min=1)
    target = torch.where(known, target, 0.0)
    mean, target_mean = (values * weight).sum(0) / count, target.sum(0) / count
    centred, target_centred = (values - mean) * weight, (target - target_mean) * weight
    covariance = (centred * target_centred).sum(0) / count
    spread = (centred.square() + target_centred.square()).sum(0) / count + (mean - target_mean).square()
    loss = 1 - 2 * covariance / (spread + _TINY)
    counts = known.any(0)
    return (loss * counts).sum() / counts.sum().clamp(min=1)
