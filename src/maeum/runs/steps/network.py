"""The network of a training, with branches of other models in place, and the objective that it is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from maeum.errors import ConfigError
from maeum.labels import LabelSet
from maeum.models.network import HasBranches, Network, TranscribesSpeech
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained, on_device
from maeum.runs.checks import check_modalities, check_settings, check_tasks
from maeum.runs.feature_cache import check_frozen
from maeum.runs.recipe import Recipe
from maeum.runs.steps.data import TrainingData
from maeum.runs.steps.objective import make_objective
from maeum.training.objective import Objective


def build_network(recipe: Recipe, data: TrainingData, device: str) -> tuple[Network, Objective]:
    """The recipe's network and its objective, proven to fit the data.

    Raises:
        ConfigError: on settings that do not fit together, or not the data.
        ModelError: when the device cannot be used, or a model that is learned from cannot be read.
    """
    check_settings(recipe, data.label_set)
    network = on_device(build(recipe, data.label_set, data.train.spoken_texts()), device)
    check_modalities(recipe, network, data.train.present())
    objective = make_objective(recipe, network, data.train, device)
    check_tasks(recipe, network)
    check_frozen(recipe, network)
    return network, objective


def build(recipe: Recipe, label_set: LabelSet, spoken_texts: Iterable[str | None] = ()) -> Network:
    """The recipe's network, with the branches of ``start_from`` in place.

    Args:
        recipe: the training's.
        label_set: what the network answers.
        spoken_texts: transcripts of the training utterances, from which a CTC head takes its characters.

    Raises:
        ConfigError: when settings are unknown or do not fit, or a branch does not.
    """
    kind = MODELS[recipe.model]
    settings: dict[str, Any] = {**recipe.network, "labels": len(label_set)}
    if recipe.training.needs_transcripts and issubclass(kind.network, TranscribesSpeech):
        settings = kind.network.settings_for_texts(settings, (text for text in spoken_texts if text))
    sources = {modality: load_pretrained(folder) for modality, folder in recipe.start_from.items()}
    for modality, source in sources.items():
        if not isinstance(source.model, HasBranches):
            raise ConfigError(f"its network {source.kind} has no branches to start from", item=source.name)
        branch = source.model.branch_settings(modality)
        settings[modality] = {**branch, **(recipe.network.get(modality) or {})}
    torch.manual_seed(recipe.training.seed)
    with errors_of(f"{recipe.name}, network"):
        network = kind.build(settings)
    for modality, source in sources.items():
        if not isinstance(network, HasBranches):
            raise ConfigError(f"start_from is of networks with branches, which {recipe.model} is not", item=recipe.name)
        with errors_of(source.name):
            network.take_over_branch(source.model, modality, source.calibration.temperature((modality,)))
    return network


@contextmanager
def errors_of(item: str) -> Iterator[None]:
    """Name the item in a ConfigError that names none."""
    try:
        yield
    except ConfigError as error:
        if error.item is not None:
            raise
        raise ConfigError(error.problem, item=item, remedy=error.remedy) from error
