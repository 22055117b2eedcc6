"""The items of a training: stores, splits, and proof that training and dev items share nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from maeum.corpora.splits import OfficialSplit, Split
from maeum.corpora.targets import Target
from maeum.data.dataset import ClipDataset, JointDataset, StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, StoreError
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
    target: str | Target | None = None
    """Which labels of the stores are learned; those that they have when None."""

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

    def _remedy(self, missing: Sequence[str]) -> str:
        """How a training does without labels that no item has."""
        found = [name for name in self.label_set.names if name not in missing]
        if self.target is not None:
            return "; leave it out of the target" if len(missing) == 1 else "; leave them out of the target"
        if (len(found) < 2 and self.label_set.task == "single-label") or not found:
            return ""
        kind = "scales" if self.label_set.task == "dimensional" else "labels"
        return f"; to do without, train with --set 'target={{{kind}: [{', '.join(found)}]}}'"

    def notes(self) -> Iterator[str]:
        """What to know about items that are left out, and about the splits."""
        for part, items in (("train", self.train), ("dev", self.dev)):
            yield from (f"{part}: {note}" for note in items.left_out_notes())
        if missing := self.labels_without_items():
            yield f"train: no item of {', '.join(missing)}, which the model cannot learn{self._remedy(missing)}"
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
    return TrainingData(train_set, dev_set, splits, _trained_on(recipe, splits, train_set, dev_set), recipe.target)


def make_splits(recipe: Recipe) -> dict[Path, Split]:
    """The recipe's split of each of its stores.

    Raises:
        ConfigError: when sessions are named beside a split.
    """
    data = (*recipe.train, *recipe.dev)
    if recipe.split != OfficialSplit() and any(d.sessions is not None for d in data):
        raise ConfigError("names sessions beside a split", item=recipe.name, remedy="Leave one of them out.")
    return {d.store: recipe.split.split(store.members()) for d, store in zip(data, _stores(recipe), strict=True)}


def _stores(recipe: Recipe) -> Iterator[Store]:
    """The stores of train, then those of dev; an error names the setting too."""
    for part, data in (("train", recipe.train), ("dev", recipe.dev)):
        for number, one in enumerate(data):
            yield open_store(one.store, f"{part}.{number}.store")


def open_store(folder: Path, setting: str) -> Store:
    """The store that a setting names; raises StoreError as `Store` does, with the setting before the folder."""
    try:
        return Store(folder)
    except StoreError as error:
        raise StoreError(error.problem, item=f"{setting}: {error.item}", remedy=error.remedy) from error


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
