"""The squared error of values on scales."""

from __future__ import annotations

from torch import Tensor

from maeum.training.losses.base import LOSSES, LossSetup
from maeum.training.losses.emotion import EmotionLoss, EmotionLossConfig, ranges_of, scaled


@LOSSES.register("squared-error")
class SquaredError(EmotionLoss[EmotionLossConfig]):
    """The mean squared error over the known targets, each scale counted as 0..1."""

    tasks = ("dimensional",)

    def __init__(self, config: EmotionLossConfig, setup: LossSetup) -> None:
        super().__init__(config, setup)
        self.ranges = ranges_of(setup)

    def compare(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `EmotionLoss`."""
        values, wanted, known = scaled(logits, target, self.ranges)
        return ((values - wanted).square() * known).sum() / known.sum().clamp(min=1)
