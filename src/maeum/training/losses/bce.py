"""Binary cross-entropy of each label."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.training.losses.base import LOSSES
from maeum.training.losses.emotion import ClassLoss, ClassLossConfig, one_hot


@LOSSES.register("bce")
class BinaryCrossEntropy(ClassLoss[ClassLossConfig]):
    """Every label is a yes or no of its own, whose positives may be weighted (Dai et al. 2021)."""

    tasks = ("single-label", "multi-label")
    per_label = True

    def compare(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `EmotionLoss`."""
        wanted = one_hot(target, logits.shape[1]).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=self.weight_on(logits))

    @staticmethod
    def weights(target: Tensor, labels: int) -> Tensor:
        """Negatives / positives of each label; one that no item has, or every item, gets 1."""
        count, total = one_hot(target, labels).double().sum(0), float(len(target))
        weight = torch.where((count > 0) & (count < total), (total - count) / count.clamp(min=1), 1.0)
        return weight.to(torch.float32)
