"""Cross-entropy over exclusive labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.training.losses.base import LOSSES
from maeum.training.losses.emotion import ClassLoss, ClassLossConfig, one_hot


class CrossEntropyConfig(ClassLossConfig):
    """Settings of the cross-entropy."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Probability that is spread evenly over all labels instead of given to the right one."""


@LOSSES.register("cross-entropy")
class CrossEntropy(ClassLoss[CrossEntropyConfig]):
    """The negative log-probability of the right label; targets may be probabilities, as of blended items."""

    Config = CrossEntropyConfig
    tasks = ("single-label",)

    def compare(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `EmotionLoss`."""
        smoothing = self.config.label_smoothing
        return F.cross_entropy(logits, target, weight=self.weight_on(logits), label_smoothing=smoothing)

    @staticmethod
    def weights(target: Tensor, labels: int) -> Tensor:
        """Inverse frequency, mean 1 over the items; a class without items never is a target and gets 1."""
        count = one_hot(target, labels).double().sum(0)
        weight = len(target) / ((count > 0).sum() * count.clamp(min=1))
        return torch.where(count > 0, weight, 1.0).to(torch.float32)
