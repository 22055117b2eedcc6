"""Where an evaluation's predictions come from: model, data and programs, as a passport names them."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from maeum import __version__
from maeum.data.dataset import StoreDataset
from maeum.data.shards import digest
from maeum.errors import ModelError
from maeum.evaluation.predictions import Provenance
from maeum.files import write_whole
from maeum.models.pretrained import Pretrained, weights_digest

RECIPE_FILE = "recipe.json"
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
        dataset: the scored items.
        part: of the corpus, for people.
        split: how the parts were made, for people.
    """
    recipe = recipe_of(pretrained.folder)
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
    """The label set, and of each item its id, the hash of its content and its target."""
    rows = zip(dataset.rows, dataset.targets(), strict=True)
    return [
        dataset.label_set.to_dict(),
        *((row["id"], row["content"], None if target is None else str(target.tolist())) for row, target in rows),
    ]


def recipe_of(folder: Path | None) -> dict[str, Any] | None:
    """The recipe that a model was trained by: in its folder if it was finished later, else in that of its run."""
    if folder is None:
        return None
    for path in (folder / RECIPE_FILE, folder.resolve().parent / RECIPE_FILE):
        if path.is_file():
            read = json.loads(path.read_text(encoding="utf-8"))
            return read if isinstance(read, dict) else None
    return None


def write_recipe(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Put the recipe that a model was trained by into its folder; raises ModelError."""
    write_whole(folder / RECIPE_FILE, json.dumps(recipe, indent=2) + "\n", ModelError)
