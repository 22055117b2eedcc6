"""Training objectives: functions of a ModelOutput and a target."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.errors import ConfigError
from maeum.types import ModelOutput

LossName = Literal["cross-entropy", "bce"]


def class_loss(
    logits: Tensor, target: Tensor, kind: LossName, class_weight: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean loss of ``logits (n, labels)``.

    Args:
        logits: ``(n, labels)``.
        target: ``(n,)`` int64 for cross-entropy; ``(n, labels)`` 0..1 for either.
        kind: ``cross-entropy`` over exclusive labels, or ``bce`` per label (Dai et al. 2021).
        class_weight: cross-entropy: weight per class; bce: weight of the positives per class. ``(labels,)``.
        label_smoothing: mass spread evenly over all labels (cross-entropy only).
    """
    if kind == "cross-entropy":
        return F.cross_entropy(logits, target, weight=class_weight, label_smoothing=label_smoothing)
    if target.ndim == 1:
        target = F.one_hot(target, logits.shape[1])
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), pos_weight=class_weight)


def emotion_loss(
    output: ModelOutput,
    target: Tensor,
    kind: LossName,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    modality_weight: float = 0.0,
) -> Tensor:
    """Loss of the fused logits plus ``modality_weight`` times each present modality's own."""
    total = class_loss(output.logits, target, kind, class_weight, label_smoothing)
    if modality_weight > 0:
        for modality, logits in output.modality_logits.items():
            there = output.present[modality]
            if bool(there.any()):
                own = class_loss(logits[there], target[there], kind, class_weight, label_smoothing)
                total = total + modality_weight * own
    return total


def class_weights(target: Tensor, labels: int, kind: LossName) -> Tensor:
    """Weights that even out the classes, ``(labels,)``.

    Cross-entropy: inverse frequency, mean 1 over the items; a class without items never is a target and gets 1.
    BCE: negatives /
    positives (Dai et al. 2021).

    Args:
        target: all training targets, ``(n,)`` int64 or ``(n, labels)``.
        labels: number of labels.
        kind: which loss they are for.

    Raises:
        ConfigError: when a class has no positive for BCE.
    """
    hot = F.one_hot(target, labels) if target.ndim == 1 else target
    count = hot.double().sum(0)
    total = float(len(target))
    if kind == "cross-entropy":
        weight = torch.where(count > 0, total / ((count > 0).sum() * count.clamp(min=1)), 1.0)
        return weight.to(torch.float32)
    if bool((count == 0).any()):
        raise ConfigError(
            f"no training item has label number {int((count == 0).nonzero()[0])}, so it cannot be weighted",
            remedy="Leave the label out, or set class_weights: false.",
        )
    return ((total - count) / count).to(torch.float32)
