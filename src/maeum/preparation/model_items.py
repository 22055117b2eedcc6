"""The items of a prepared corpus as a trained model reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from maeum.corpora.splits import Split
from maeum.corpora.targets import Target
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.models.pretrained import Pretrained
from maeum.types import MODALITIES, Modality


def items_for(
    model: Pretrained,
    store: Store | Path | str,
    part: str | None = None,
    modalities: Sequence[Modality] | None = None,
    *,
    labelled: bool = False,
    target: str | Target | None = None,
    split: Split | None = None,
    sessions: Sequence[str] | None = None,
    transcripts: Mapping[str, str] | None = None,
) -> StoreDataset:
    """The items of a store, with the modalities and the form of sound that a model reads, and its labels as targets.

    Args:
        model: who reads them.
        store: the prepared corpus.
        part: see `StoreDataset`; of no account where ``sessions`` are given.
        modalities: of which the model is given those that it reads; all that it reads when None.
        labelled: leave out items without a label.
        target: see `StoreDataset`.
        split: see `StoreDataset`.
        sessions: these instead of the part.
        transcripts: see `StoreDataset`.

    Raises:
        ConfigError: when the model reads none of the modalities.
        StoreError: when the store cannot be read, or has no such items.
    """
    return StoreDataset(
        store,
        part if sessions is None else None,
        model.label_set if labelled else None,
        read_of(model, modalities),
        labelled=labelled,
        target=target,
        split=split,
        sessions=sessions,
        sound=model.settings.sound,
        transcripts=transcripts,
    )


def read_of(model: Pretrained, modalities: Sequence[Modality] | None = None) -> tuple[Modality, ...]:
    """Those of some modalities that a model reads, all when None; raises ConfigError when it reads none of them."""
    reads = model.model.modalities
    given = tuple(m for m in reads if modalities is None or m in modalities)
    if not given:
        raise ConfigError(f"the model reads {', '.join(reads)}, not {', '.join(modalities or ())}", item=model.name)
    return given


def subsets_of(model: Pretrained, store: Store) -> list[tuple[Modality, ...]]:
    """Every set of the modalities that a store has and a model reads, smaller ones first; none where there are none."""
    shared = [m for m in MODALITIES if m in store.manifest["modalities"] and m in model.model.modalities]
    return [s for size in range(1, len(shared) + 1) for s in combinations(shared, size)]
