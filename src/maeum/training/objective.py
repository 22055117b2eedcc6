"""The objective of a training: the weighted sum of its losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from maeum.errors import ConfigError
from maeum.labels import LabelSet
from maeum.models.network import Network
from maeum.training.config import TrainConfig
from maeum.training.losses import LOSSES
from maeum.training.losses.base import BatchOutputs, Loss, LossSetup
from maeum.training.losses.emotion import DEFAULT_EMOTION_LOSS, EmotionLoss
from maeum.types import Batch


class Objective:
    """The loss of a batch: ``L = emotion loss + sum of weight x further loss`` (Ghosh et al. 2023, equation 10).

    Args:
        losses: by name, the emotion loss first; see `build_objective`.
        teacher: network whose outputs are learned too, in eval mode; None where no loss needs one.
    """

    def __init__(self, losses: Mapping[str, Loss[Any]], teacher: Network | None = None) -> None:
        self.losses, self.teacher = dict(losses), teacher
        self.needs_views = any(loss.needs_views for loss in self.losses.values())

    def __call__(self, model: torch.nn.Module, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The loss of a batch with targets, and what its losses say for the log (name -> number)."""
        return self.loss(batch, self.outputs(model, batch))

    def outputs(self, model: torch.nn.Module, batch: Batch) -> BatchOutputs:
        """What the losses need: outputs for the batch and for its augmented views, and the teacher's."""
        teacher = None
        if self.teacher is not None:
            with torch.no_grad():
                teacher = self.teacher(batch)
        views = batch.view if self.needs_views else None
        return BatchOutputs(model(batch), None if views is None else model(views), teacher)

    def loss(self, batch: Batch, outputs: BatchOutputs) -> tuple[Tensor, dict[str, float]]:
        """The loss of the outputs for a batch; see `__call__`."""
        total = outputs.output.logits.new_zeros(())
        log: dict[str, float] = {}
        for loss in self.losses.values():
            found = loss(batch, outputs)
            total = total + loss.config.weight * found.value
            log.update(found.log)
        return total, log

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the losses, by their names."""
        return {name: state for name, loss in self.losses.items() if (state := loss.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state_dict` gave."""
        for name, own in state.items():
            self.losses[name].load_state_dict(own)


def emotion_loss_name(config: TrainConfig, label_set: LabelSet) -> str:
    """The loss between logits and labels: the one that is named, else the one for labels of this kind.

    Raises:
        ConfigError: when the one that is named is for other labels.
    """
    name = config.loss or DEFAULT_EMOTION_LOSS[label_set.task]
    if label_set.task not in LOSSES[name].tasks:
        fitting = [n for n in LOSSES if issubclass(LOSSES[n], EmotionLoss) and label_set.task in LOSSES[n].tasks]
        raise ConfigError(
            f"the loss {name!r} is not for {label_set.task} targets", remedy=f"Use {' or '.join(fitting)}."
        )
    return name


def build_objective(config: TrainConfig, setup: LossSetup) -> Objective:
    """The objective of a training, checked against what is known of it.

    Raises:
        ConfigError: when a loss does not fit the labels, the network, the teacher or the data.
    """
    emotion = emotion_loss_name(config, setup.label_set)
    settings = config.loss_settings(emotion)
    losses: dict[str, Loss[Any]] = {}
    for name in (emotion, *sorted(set(settings) - {emotion})):
        kind = LOSSES[name]
        losses[name] = kind(kind.Config.parse(settings[name], item=f"losses.{name}"), setup)
        if losses[name].config.weight == 0 and name != emotion:
            del losses[name]
            continue
        kind.check_labels(name, setup.label_set)
        losses[name].check()
    teacher = setup.teacher.model if setup.teacher is not None else None
    needed = any(loss.needs_teacher for loss in losses.values())
    return Objective(losses, teacher if needed else None)
