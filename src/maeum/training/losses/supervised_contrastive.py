"""The supervised contrast: utterances of one class near each other, and a memory for small batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from maeum.errors import ConfigError, ModelError
from maeum.training.losses.base import LOSSES, BatchOutputs, Loss, LossSetup, LossValue
from maeum.training.losses.contrast import ContrastConfig, check_contrast, products, projection_of, unit_vectors
from maeum.training.losses.published import published_supervised_contrastive
from maeum.types import Batch


class SupervisedContrastiveConfig(ContrastConfig):
    """Settings of the supervised contrast."""

    memory: int = Field(default=0, ge=0, le=1_000_000)
    """How many earlier utterances are contrasted with as well; small batches hold few of a class."""


@LOSSES.register("supervised-contrastive")
class SupervisedContrastive(Loss[SupervisedContrastiveConfig]):
    """Brings utterances of one class together (Ghosh et al. 2023: weight 0.1)."""

    Config = SupervisedContrastiveConfig
    tasks = ("single-label",)

    def __init__(self, config: SupervisedContrastiveConfig, setup: LossSetup) -> None:
        super().__init__(config, setup)
        self.memory = Memory(config.memory) if config.memory else None

    def check(self) -> None:
        """See `Loss`."""
        check_contrast(self.setup, "supervised-contrastive")
        if self.memory is not None and self.config.form == "published":
            raise ConfigError("memory is not part of the published supervised contrast",
                              remedy="Set training.losses.supervised-contrastive.memory to 0.")  # fmt: skip

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """See `Loss`."""
        assert batch.target is not None
        features, temperature = projection_of(outputs.output), self.config.temperature
        if self.config.form == "published":
            loss = published_supervised_contrastive(features, batch.target, temperature)
            return LossValue(loss, {"supervised": float(loss.detach())})
        earlier = (None, None) if self.memory is None else (self.memory.features, self.memory.target)
        contrast = supervised_contrastive(features, batch.target, temperature, *earlier)
        if self.memory is not None:
            self.memory.push(features, batch.target)
        return LossValue(contrast.loss, {"alone": contrast.alone, "supervised": float(contrast.loss.detach())})

    def state_dict(self) -> dict[str, Any]:
        """See `Loss`."""
        return {} if self.memory is None else dict(self.memory.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Loss`."""
        if self.memory is not None:
            self.memory.load_state_dict(state)


@dataclass(frozen=True)
class Contrast:
    """loss: the mean over the anchors that have a positive, 0 without any. anchors: how many have one. alone: how many
    have none and were skipped.
    """

    loss: Tensor
    anchors: int
    alone: int


def supervised_contrastive(
    features: Tensor,
    target: Tensor,
    temperature: float = 0.07,
    others: Tensor | None = None,
    others_target: Tensor | None = None,
) -> Contrast:
    """Items of one class near each other, others apart: L_out of Khosla et al., NeurIPS 2020, equation 2.

    Features are brought to length 1, the temperature divides their similarity inside the softmax, an item is never its
    own positive, and anchors without a positive are skipped.

    Args:
        features: ``(n, d)``.
        target: classes, ``(n,)`` int64.
        temperature: of the softmax.
        others: further items to compare with, such as a `Memory`'s, ``(m, d)``; they are no anchors.
        others_target: their classes, ``(m,)``.
    """
    anchors = unit_vectors(features)
    pool, classes = anchors, target
    if others is not None and others_target is not None:
        pool = torch.cat((anchors, unit_vectors(others)))
        classes = torch.cat((target, others_target))
    itself = torch.eye(len(anchors), len(pool), dtype=torch.bool, device=pool.device)
    similarity = (products(anchors, pool) / temperature).masked_fill(itself, -torch.inf)
    positive = (target.unsqueeze(1) == classes) & ~itself
    count = positive.sum(1)
    anchored = count > 0
    if not bool(anchored.any()):
        return Contrast(features.sum() * 0.0, 0, len(target))
    log_probs = similarity[anchored].log_softmax(1).masked_fill(~positive[anchored], 0.0)
    anchors_used = int(anchored.sum())
    return Contrast(-(log_probs.sum(1) / count[anchored]).mean(), anchors_used, len(target) - anchors_used)


class Memory:
    """The latest items that were seen, to contrast with: cross-batch memory (Wang et al., CVPR 2020).

    Args:
        size: items at most.

    Raises:
        ModelError: from `load_state_dict`, when another size was kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.features: Tensor | None = None  # (n, d), newest last
        self.target: Tensor | None = None

    def push(self, features: Tensor, target: Tensor) -> None:
        """Keep these, and forget the oldest."""
        features, target = features.detach().float(), target.detach()
        if self.features is not None and self.target is not None:
            features, target = torch.cat((self.features, features)), torch.cat((self.target, target))
        self.features, self.target = features[-self.size :], target[-self.size :]

    def state_dict(self) -> dict[str, Tensor | int | None]:
        """What a checkpoint keeps of it."""
        return {"size": self.size, "features": self.features, "target": self.target}

    def load_state_dict(self, state: dict[str, Tensor | int | None]) -> None:
        """Go on with what `state_dict` gave."""
        if state["size"] != self.size:
            raise ModelError(f"the memory held {state['size']} items, now {self.size}")
        self.features, self.target = state["features"], state["target"]  # type: ignore[assignment]
