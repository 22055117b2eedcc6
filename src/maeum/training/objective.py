"""What a training minimises: the emotions, and beside them whatever further tasks its settings weigh."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maeum.errors import ConfigError
from maeum.training.config import TrainConfig
from maeum.training.losses.contrastive import (
    Memory,
    augmented_contrastive,
    published_augmented_contrastive,
    published_supervised_contrastive,
    supervised_contrastive,
)
from maeum.training.losses.emotion import ctc_loss, distillation_loss, emotion_loss, encoding_loss
from maeum.types import Batch, ModelOutput


@dataclass(frozen=True)
class Said:
    """Answers about a batch, about its augmented views and by a teacher, where there are such."""

    output: ModelOutput
    view: ModelOutput | None = None
    taught: ModelOutput | None = None


class Objective:
    """The loss of a batch: ``L = emotions + sum of weight x task`` (Ghosh et al. 2023, equation 10).

    Args:
        config: kinds and weights.
        class_weight: see `losses.class_weights`.
        ranges: lowest and highest value of each scale of dimensional targets, ``(labels, 2)``.
        teacher: whose answers and encodings are learned too; in eval mode.
    """

    def __init__(
        self,
        config: TrainConfig,
        class_weight: Tensor | None = None,
        ranges: Tensor | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        self.config, self.class_weight, self.ranges, self.teacher = config, class_weight, ranges, teacher
        self.memory = Memory(config.memory) if config.memory and config.supervised_contrastive else None

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch with targets, and of each further task: its own loss, and what it could not use.

        Raises:
            ConfigError: when the network has nothing that a task could be learned with.
        """
        return self.loss(batch, self.answer(model, batch))

    def answer(self, model: nn.Module, batch: Batch) -> Said:
        """What `loss` needs: answers about a batch and about its augmented views, and the teacher's."""
        taught = None
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.teacher(batch)
        views = batch.view if self.config.augmented_contrastive else None
        return Said(model(batch), None if views is None else model(views), taught)

    def loss(self, batch: Batch, said: Said) -> tuple[Tensor, dict[str, float]]:
        """The loss of answers about a batch; see `__call__`."""
        config, output = self.config, said.output
        assert batch.target is not None
        loss = emotion_loss(
            output,
            batch.target,
            config.loss,
            self.class_weight,
            config.label_smoothing,
            config.modality_weight,
            self.ranges,
        )
        if said.taught is not None:
            loss = loss + self._taught(output, said.taught)
        parts: dict[str, float] = {}
        if config.ctc:
            loss = loss + config.ctc * self._spelled(batch, output, parts)
        if config.supervised_contrastive:
            loss = loss + config.supervised_contrastive * self._together(batch.target, output, parts)
        if config.augmented_contrastive:
            loss = loss + config.augmented_contrastive * self._augmented(batch, said, parts)
        return loss, parts

    def _taught(self, output: ModelOutput, taught: ModelOutput) -> Tensor:
        config, loss = self.config, output.logits.new_zeros(())
        if config.distill:
            apart = distillation_loss(output, taught, config.loss, config.distill_temperature)
            loss = loss + config.distill * apart
        if config.distill_encoded:
            loss = loss + config.distill_encoded * encoding_loss(output, taught)
        return loss

    def _spelled(self, batch: Batch, output: ModelOutput, parts: dict[str, float]) -> Tensor:
        if batch.transcript_ids is None or batch.transcript_mask is None or "ctc.logits" not in output.auxiliary:
            return output.logits.new_zeros(())  # nobody speaks, or nothing is known of what is said
        shown = output.auxiliary
        ctc = ctc_loss(shown["ctc.logits"], shown["ctc.mask"], batch.transcript_ids, batch.transcript_mask)
        parts["ctc"], parts["ctc_left_out"] = float(ctc.loss.detach()), ctc.left_out
        return ctc.loss

    def _together(self, target: Tensor, output: ModelOutput, parts: dict[str, float]) -> Tensor:
        view = _projection(output, "projection")
        if self.config.contrast == "published":
            loss = published_supervised_contrastive(view, target, self.config.temperature)
        else:
            seen = (None, None) if self.memory is None else (self.memory.features, self.memory.target)
            contrast = supervised_contrastive(view, target, self.config.temperature, *seen)
            loss, parts["alone"] = contrast.loss, contrast.alone
            if self.memory is not None:
                self.memory.push(view, target)
        parts["supervised"] = float(loss.detach())
        return loss

    def _augmented(self, batch: Batch, said: Said, parts: dict[str, float]) -> Tensor:
        if said.view is None or batch.has_view is None:
            return said.output.logits.new_zeros(())
        contrast = augmented_contrastive if self.config.contrast == "standard" else published_augmented_contrastive
        view, views = _projection(said.output, "projection")[batch.has_view], _projection(said.view, "view_projection")
        loss = contrast(view, views, self.config.temperature)
        parts["augmented"] = float(loss.detach())
        return loss


def _projection(output: ModelOutput, name: str) -> Tensor:
    if name not in output.auxiliary:
        raise ConfigError(
            "the network makes nothing that could be contrasted",
            remedy="Use MMER with project above 0, or set supervised_contrastive and augmented_contrastive to 0.",
        )
    return output.auxiliary[name]
