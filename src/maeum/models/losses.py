"""Training objectives: functions of a ModelOutput and a target."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.errors import ConfigError
from maeum.labels import Task
from maeum.types import ModelOutput

LossName = Literal["cross-entropy", "bce", "squared-error"]

#: Which losses fit which kind of target.
LOSSES: dict[Task, tuple[LossName, ...]] = {
    "single-label": ("cross-entropy", "bce"),
    "multi-label": ("bce",),
    "dimensional": ("squared-error",),
}


def class_loss(
    logits: Tensor,
    target: Tensor,
    kind: LossName,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ranges: Tensor | None = None,
) -> Tensor:
    """Mean loss of ``logits (n, labels)``.

    Args:
        logits: ``(n, labels)``.
        target: ``(n,)`` int64 or ``(n, labels)`` probabilities for cross-entropy and bce; ``(n, labels)`` 0/1 for bce;
            ``(n, labels)`` values in the units of their scales for squared-error.
        kind: ``cross-entropy`` over exclusive labels; ``bce`` per label (Dai et al. 2021); ``squared-error`` of
            values on scales, each scale counted as 0..1.
        class_weight: cross-entropy: weight per class; bce: weight of the positives per class. ``(labels,)``.
        label_smoothing: mass spread evenly over all labels (cross-entropy only).
        ranges: lowest and highest value of each scale, ``(labels, 2)``; needed by squared-error.
    """
    if kind == "squared-error":
        assert ranges is not None
        low, high = ranges.to(logits).unbind(-1)
        return F.mse_loss(logits.sigmoid(), (target - low) / (high - low))
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
    ranges: Tensor | None = None,
) -> Tensor:
    """Loss of the fused logits plus ``modality_weight`` times each present modality's own; see `class_loss`."""
    total = class_loss(output.logits, target, kind, class_weight, label_smoothing, ranges)
    if modality_weight > 0:
        for modality, logits in output.modality_logits.items():
            there = output.present[modality]
            if bool(there.any()):
                own = class_loss(logits[there], target[there], kind, class_weight, label_smoothing, ranges)
                total = total + modality_weight * own
    return total


def class_weights(target: Tensor, labels: int, kind: LossName) -> Tensor:
    """Weights that even out the classes, ``(labels,)``.

    Cross-entropy: inverse frequency, mean 1 over the items; a class without items never is a target and gets 1.
    BCE: negatives / positives (Dai et al. 2021).

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
