"""Losses between a network's logits and the labels; one of them is in every training."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.labels import Task
from maeum.training.losses.base import BatchOutputs, Loss, LossConfig, LossSetup, LossValue
from maeum.types import Batch

#: The loss between logits and labels where a recipe names none.
DEFAULT_EMOTION_LOSS: dict[Task, str] = {"single-label": "cross-entropy", "multi-label": "bce", "dimensional": "ccc"}


class EmotionLossConfig(LossConfig):
    """Settings that every loss between logits and labels has."""

    modality_weight: float = Field(default=0.0, ge=0, le=1000)
    """Weight of the same loss on each modality's own logits, beside the fused ones; 0 leaves them to the fused loss."""


class ClassLossConfig(EmotionLossConfig):
    """Settings of losses between logits and classes."""

    class_weights: bool = True
    """Whether rare classes weigh more, so that all classes weigh alike in the training set."""


C = TypeVar("C", bound=EmotionLossConfig)


class EmotionLoss(Loss[C]):
    """A loss of the fused logits, plus ``modality_weight`` times that of each present modality's own."""

    Config = EmotionLossConfig

    @abstractmethod
    def compare(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean loss of logits ``(n, labels)`` against targets, of which there is at least one."""

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """See `Loss`."""
        assert batch.target is not None
        output = outputs.output
        total = self.compare(output.logits, batch.target)
        if self.config.modality_weight > 0:
            for modality, logits in output.modality_logits.items():
                present = output.present[modality]
                if bool(present.any()):
                    own = self.compare(logits[present], batch.target[present])
                    total = total + self.config.modality_weight * own
        return LossValue(total)


class ClassLoss(EmotionLoss[C]):
    """A loss between logits and classes, which may be weighted."""

    Config = ClassLossConfig

    def __init__(self, config: C, setup: LossSetup) -> None:
        super().__init__(config, setup)
        weighted = isinstance(config, ClassLossConfig) and config.class_weights
        counted = setup.targets if weighted else None
        self.class_weight = None if counted is None else self.weights(counted, len(setup.label_set))

    @staticmethod
    @abstractmethod
    def weights(target: Tensor, labels: int) -> Tensor:
        """Weights that even out the classes, ``(labels,)`` float32.

        Args:
            target: all training targets, ``(n,)`` int64 or ``(n, labels)``.
            labels: number of labels.
        """

    def weight_on(self, logits: Tensor) -> Tensor | None:
        """The classes' weights where the logits are."""
        return None if self.class_weight is None else self.class_weight.to(logits.device)


def one_hot(target: Tensor, labels: int) -> Tensor:
    """Targets ``(n,)`` int64 as ``(n, labels)``; those that are so already stay as they are."""
    return F.one_hot(target, labels) if target.ndim == 1 else target


def scaled(logits: Tensor, target: Tensor, ranges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits and dimensional targets as values of 0..1 of each scale's range.

    Args:
        logits: ``(n, scales)``.
        target: values in the units of their scales, NaN where an item has none, ``(n, scales)``.
        ranges: lowest and highest value of each scale, ``(scales, 2)``.

    Returns:
        Values, targets (0 where one is missing), and which targets are known, each ``(n, scales)``.
    """
    values = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
    low, high = ranges.to(values).unbind(-1)
    known = ~target.isnan()
    return values, torch.where(known, (target.to(values) - low) / (high - low), 0.0), known


def ranges_of(setup: LossSetup) -> Tensor:
    """Lowest and highest value of each scale, ``(scales, 2)``."""
    return torch.tensor(setup.label_set.ranges, dtype=torch.float64)
