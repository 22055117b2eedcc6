"""Whose run a folder holds: a recipe, and the models that it learns from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from maeum.config import format_difference
from maeum.errors import StoreError
from maeum.files import Made, has_keys, only_process, write_whole
from maeum.models.pretrained import load_pretrained, weights_digest
from maeum.runs.recipe import Recipe

_RECIPE, _SOURCES = "recipe.json", "sources.json"
_REMEDY = "Choose another folder."


#: The folder of a run. What `maeum calibrate` makes has a recipe too, but is a model itself.
RUN = Made(
    "a run of maeum train",
    lambda folder: has_keys("name", "train", "dev")(folder / _RECIPE) and not (folder / "model.safetensors").exists(),
)
#: Runs below a folder, of `maeum compare` and others.
RUNS = Made(
    "a folder of runs of maeum train",
    lambda folder: any(map(RUN.recognise, _run_folders(folder))),
    ("report.html", "report.md", "scores.json"),
)


def hold_run_folder(out: Path) -> AbstractContextManager[None]:
    """Let no other process train in a folder meanwhile; raises StoreError when one does."""
    return only_process(out, "trained in")


def reserve_run_folder(out: Path, recipe: Recipe) -> None:
    """Make ``out`` the folder of a recipe's run, or find that it is.

    A model that is learned from counts by its weights, wherever it lies.

    Raises:
        StoreError: when the folder holds a run of another recipe, or of one that learned from other weights, or cannot
            be written.
    """
    now = sources_of(recipe)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / _RECIPE).exists():
            if other := format_difference(_apart(Recipe.load(out / _RECIPE)), _apart(recipe)):
                raise StoreError(f"holds a run of another recipe ({other})", item=out, remedy=_REMEDY)
            before = _read_sources(out)
            if changed := [role for role in now if before.get(role, now[role]) != now[role]]:
                raise StoreError(
                    f"holds a run that learned from other weights than those in {_folders(recipe)[changed[0]]}",
                    item=out,
                    remedy="Delete the folder to train anew, or choose another one.",
                )
        else:
            _write(out / _RECIPE, recipe.model_dump_json(indent=2) + "\n")
        if now and not (out / _SOURCES).exists():
            _write(out / _SOURCES, json.dumps(now, indent=2) + "\n")
    except OSError as error:
        raise StoreError(f"cannot be written ({error})", item=out, remedy=_REMEDY) from error


def sources_of(recipe: Recipe) -> dict[str, str]:
    """What is learned from: modality (its branch) or ``teacher`` -> digest of the model's weights."""
    digests = {folder: weights_digest(load_pretrained(folder).model) for folder in recipe.learns_from()}
    return {role: digests[folder] for role, folder in _folders(recipe).items()}


def _run_folders(folder: Path) -> Iterator[Path]:
    return (path.parent for path in folder.rglob(_RECIPE))


def _folders(recipe: Recipe) -> dict[str, Path]:
    folders: dict[str, Path] = {str(modality): folder for modality, folder in recipe.start_from.items()}
    return folders if recipe.teacher is None else {**folders, "teacher": recipe.teacher}


def _apart(recipe: Recipe) -> dict[str, Any]:
    """A recipe without where the models lie that it learns from."""
    return {**recipe.model_dump(mode="json"), "start_from": sorted(recipe.start_from), "teacher": bool(recipe.teacher)}


def _read_sources(out: Path) -> Mapping[str, str]:
    path = out / _SOURCES
    try:
        found: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise StoreError(f"cannot be read ({error})", item=path, remedy=_REMEDY) from error
    return found


def _write(path: Path, text: str) -> None:
    write_whole(path, text, StoreError)
