"""Where an evaluation's predictions come from: model, data and programs, as a passport names them."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from maeum import __version__
from maeum.data.dataset import StoreDataset
from maeum.data.store import digest
from maeum.evaluation.predictions import Provenance
from maeum.models.pretrained import Pretrained, weights_digest

_PROGRAMS = ("torch", "numpy", "transformers", "av")


def provenance(
    pretrained: Pretrained,
    dataset: StoreDataset,
    part: str,
    *,
    split: str,
) -> Provenance:
    """The provenance of a model's predictions about a dataset.

    Args:
        pretrained: the model; the recipe that a training leaves beside its folder is taken up.
        dataset: what it is asked about.
        part: of the corpus, in words.
        split: how the parts were made, in words.
    """
    recipe = _recipe(pretrained.folder)
    seed = (recipe or {}).get("training", {}).get("seed")
    return Provenance(
        model=pretrained.name,
        weights=weights_digest(pretrained.model),
        data=str(dataset.store.manifest["name"]),
        part=part,
        split=split,
        data_hash=digest(_data(dataset)),
        licence=pretrained.card.licence,
        trained_on=pretrained.card.data,
        seeds=() if seed is None else (int(seed),),
        settings=recipe,
        versions={"maeum": __version__, "python": platform.python_version()} | {n: version(n) for n in _PROGRAMS},
    )


def _data(dataset: StoreDataset) -> list[Any]:
    """What was asked: which labels, and each item, what it is made of and what is true of it."""
    rows = zip(dataset.rows, dataset.targets(), strict=True)
    return [
        dataset.label_set.to_dict(),
        *((row["id"], row["content"], None if target is None else str(target.tolist())) for row, target in rows),
    ]


def _recipe(folder: Path | None) -> dict[str, Any] | None:
    """What ``maeum train`` wrote beside a model's folder."""
    path = None if folder is None else folder.resolve().parent / "recipe.json"
    if path is None or not path.is_file():
        return None
    read = json.loads(path.read_text(encoding="utf-8"))
    return read if isinstance(read, dict) else None
