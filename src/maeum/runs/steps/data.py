"""The items of a training: stores, splits, and proof that training and dev items share nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from maeum.corpora.splits import OfficialSplit, Split
from maeum.corpora.targets import Target
from maeum.data.dataset import ClipDataset, JointDataset, StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.labels import LabelSet
from maeum.models.pretrained import load_pretrained
from maeum.preparation.transcripts import Transcripts
from maeum.runs.recipe import DataConfig, Recipe
from maeum.runs.trained_on import TrainedOn, trained_on
from maeum.types import Sound


@dataclass(frozen=True)
class TrainingData:
    """The items of a training, and what its model will have seen."""

    train: ClipDataset
    dev: ClipDataset
    splits: Mapping[Path, Split]
    """The split of each store."""
    known: TrainedOn
    """What is kept with the model about the items it was trained and chosen on."""

    @property
    def label_set(self) -> LabelSet:
        """What is learned."""
        return self.train.label_set

    def labels_without_items(self) -> list[str]:
        """Labels that no training item has, or scales on which none has a value."""
        known = [target for target in self.train.targets() if target is not None]
        if self.label_set.task == "single-label":
            found = {int(target) for target in known}
            return [name for number, name in enumerate(self.label_set.names) if number not in found]
        has = torch.stack(known) if known else torch.zeros(0, len(self.label_set))
        has = ~has.isnan() if self.label_set.task == "dimensional" else has > 0.5
        return [name for name, any_ in zip(self.label_set.names, has.any(0).tolist(), strict=True) if not any_]

    def notes(self) -> Iterator[str]:
        """What to know about items that are left out, and about the splits."""
        for part, items in (("train", self.train), ("dev", self.dev)):
            yield from (f"{part}: {note}" for note in items.left_out_notes())
        if missing := self.labels_without_items():
            yield f"train: no item of {', '.join(missing)}, which the model cannot learn"
        for store, split in self.splits.items():
            yield from (f"{store}: {note}" for note in split.notes)


def load_training_data(recipe: Recipe) -> TrainingData:
    """The items that a recipe trains and chooses on.

    Raises:
        StoreError: when a store cannot be read.
        ConfigError: when a label or a session is unknown.
        CorpusError: when the split cannot be made, or its parts share something and the recipe does not allow that.
    """
    splits = make_splits(recipe)
    views = recipe.training.needs_views
    sound = recipe.inputs.sound
    train_set = load_parts(recipe.train, "train", recipe.target, splits, sound, views=views)
    dev_set = load_parts(recipe.dev, "dev", recipe.target, splits, sound)
    return TrainingData(train_set, dev_set, splits, _trained_on(recipe, splits, train_set, dev_set))


def make_splits(recipe: Recipe) -> dict[Path, Split]:
    """The recipe's split of each of its stores.

    Raises:
        ConfigError: when sessions are named beside a split.
    """
    data = (*recipe.train, *recipe.dev)
    if recipe.split != OfficialSplit() and any(d.sessions is not None for d in data):
        raise ConfigError("names sessions beside a split", item=recipe.name, remedy="Leave one of them out.")
    return {d.store: recipe.split.split(Store(d.store).members()) for d in data}


def load_parts(
    data: tuple[DataConfig, ...],
    part: str,
    target: str | Target | None = None,
    splits: Mapping[Path, Split] | None = None,
    sound: Sound = "mel_chunks",
    *,
    views: bool = False,
) -> ClipDataset:
    """The labelled items of one part, or of some sessions, of several stores."""
    if not data:
        raise ConfigError(f"the recipe names no data for {part}")
    sets: list[ClipDataset] = [
        StoreDataset(
            d.store,
            part if d.sessions is None else None,
            None,
            d.modalities,
            labelled=True,
            target=target,
            split=None if splits is None else splits[d.store],
            sessions=d.sessions,
            sound=sound,
            views=d.views if views else None,
            transcripts=None if d.transcripts is None else Transcripts.read(d.transcripts).texts,
        )
        for d in data
    ]
    return sets[0] if len(sets) == 1 else JointDataset(sets)


def _trained_on(
    recipe: Recipe, splits: Mapping[Path, Split], train_set: ClipDataset, dev_set: ClipDataset
) -> TrainedOn:
    """What the model will have seen, branches that it takes over included; raises CorpusError when parts overlap."""
    folders = (load_pretrained(folder).folder for folder in recipe.learns_from())
    sources = [known for folder in folders if (known := TrainedOn.read(folder)) is not None]
    by_session = {d.store for d in (*recipe.train, *recipe.dev) if d.sessions is not None}
    split_stores = {path: Store(path) for path in splits if path not in by_session}
    return trained_on(
        recipe.split,
        [(store, splits[path]) for path, store in split_stores.items()],
        train_set,
        dev_set,
        target=recipe.target,
        tested={str(split_stores[d.store].manifest["name"]) for d in recipe.dev if d.store in split_stores},
        sources=sources,
        allow_overlap=recipe.allow_overlap,
    )
