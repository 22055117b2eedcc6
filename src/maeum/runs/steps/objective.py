"""The objective of a training, from its recipe and its data; and the score below which nothing was learned."""

from __future__ import annotations

import math

import numpy as np
import torch

from maeum.data.dataset import ClipDataset
from maeum.errors import ConfigError
from maeum.evaluation.base import METRICS
from maeum.evaluation.trivial import majority_score
from maeum.labels import LabelSet
from maeum.models.network import Network
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.runs.recipe import Recipe
from maeum.training.losses.base import LossSetup
from maeum.training.objective import Objective, build_objective, emotion_loss_name

#: Score of a dimensional metric (concordance and the like) that a network without any skill reaches by luck.
_LUCK_ON_SCALES = 0.05


def make_objective(recipe: Recipe, network: Network, train_set: ClipDataset, device: str) -> Objective:
    """The recipe's losses, checked against labels, network, teacher and data.

    Raises:
        ConfigError: when a loss does not fit them, or a teacher is named that no loss listens to.
    """
    label_set, augment = train_set.label_set, recipe.augment
    known = [target for target in train_set.targets() if target is not None]
    setup = LossSetup(
        label_set=label_set,
        network=network,
        targets=torch.stack(known) if known else None,
        teacher=_teacher(recipe, device),
        has_views=augment.view is not None or any(data.views for data in recipe.train),
        blends_items=augment.mixup > 0,
        crops_speech=augment.mel_chunks is not None and augment.mel_chunks.window > 0,
        emotion_loss=emotion_loss_name(recipe.training, label_set),
    )
    try:
        return build_objective(recipe.training, setup)
    except ConfigError as error:
        if error.item is not None:
            raise
        raise ConfigError(error.problem, item=recipe.name, remedy=error.remedy) from error


def _teacher(recipe: Recipe, device: str) -> Pretrained | None:
    if recipe.teacher is None:
        return None
    if not recipe.training.needs_teacher:
        raise ConfigError(
            "names a teacher, but no loss compares the network with it",
            item=recipe.name,
            remedy="Give training.losses.distillation or training.losses.encoding-distillation a weight, or leave the "
            "teacher out.",
        )
    return load_pretrained(recipe.teacher, device)


def score_of_chance(dev_set: ClipDataset, label_set: LabelSet, metric: str) -> float | None:
    """The score on dev up to which a network has learned nothing, higher being better; None where it is undefined.

    It is the majority baseline's score, and what luck adds to it on so few items: two standard errors of a proportion.
    """
    known = [target for target in dev_set.targets() if target is not None]
    if not known:
        return None
    target = torch.stack(known).numpy()
    majority = majority_score(METRICS[metric], target, len(label_set))
    if majority is None or not METRICS[metric].higher_is_better:
        return None
    if label_set.task == "dimensional":
        return majority + _LUCK_ON_SCALES
    share = float(np.clip(majority, 0.0, 1.0))
    return majority + 2 * math.sqrt(share * (1 - share) / len(known))
