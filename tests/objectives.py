"""Losses and objectives for tests, without a recipe and a corpus."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from maeum.labels import LabelSet
from maeum.models.network import Network
from maeum.models.pretrained import Pretrained
from maeum.training.config import TrainConfig
from maeum.training.losses import LOSSES
from maeum.training.losses.base import Loss, LossSetup
from maeum.training.losses.emotion import EmotionLoss
from maeum.training.objective import Objective, build_objective, emotion_loss_name

THREE = LabelSet(("anger", "fear", "sadness"))


def loss_of(
    name: str,
    label_set: LabelSet = THREE,
    targets: Tensor | None = None,
    network: Network | None = None,
    **settings: Any,
) -> Loss[Any]:
    """A loss of the table with some of its settings."""
    setup = LossSetup(label_set, cast(Network, network), targets)
    return LOSSES[name](LOSSES[name].Config.parse(settings), setup)


def compare(name: str, logits: Tensor, target: Tensor, ranges: Tensor | None = None) -> Tensor:
    """The value of a loss between logits and labels."""
    pairs = None if ranges is None else tuple((float(low), float(high)) for low, high in ranges)
    labels = tuple(f"label {i}" for i in range(logits.shape[1]))
    loss = loss_of(name, LabelSet(labels, "single-label" if pairs is None else "dimensional", pairs))
    assert isinstance(loss, EmotionLoss)
    value: Tensor = loss.compare(logits, target)
    return value


def objective_of(
    config: TrainConfig,
    network: torch.nn.Module,
    label_set: LabelSet = THREE,
    targets: Tensor | None = None,
    teacher: Pretrained | None = None,
) -> Objective:
    """The objective of a training whose items have augmented views."""
    setup = LossSetup(
        label_set,
        cast(Network, network),
        targets,
        teacher,
        has_views=True,
        emotion_loss=emotion_loss_name(config, label_set),
    )
    return build_objective(config, setup)
