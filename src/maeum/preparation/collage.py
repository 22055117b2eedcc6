"""Prepare a collage from the prepared stores that lie in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from maeum.data.collage import CollageConfig, make_collage
from maeum.data.store import Store
from maeum.errors import CorpusError
from maeum.progress import progress_bar
from maeum.types import MODALITIES, Modality


class CollageOptions(CollageConfig):
    """How a collage is made, and from which stores."""

    faces: tuple[str, ...] | None = None
    """Names of the stores that faces are taken from; when null every single-label store in the folder that has
    faces."""
    speech: tuple[str, ...] | None = None
    """Names of the stores that speech is taken from; when null every single-label store in the folder that has
    speech."""
    text: tuple[str, ...] | None = None
    """Names of the stores that text is taken from; when null every single-label store in the folder that has text."""


def prepare_collage(
    source: Path, out: Path, options: CollageOptions, *, restart: bool = False, console: Console | None = None
) -> dict[str, Any]:
    """Make (or complete) the store of a collage.

    Args:
        source: a folder whose sub-folders are prepared stores.
        out: folder of the collage.
        options: how, and from which stores.
        restart: begin anew when ``out`` was made with other settings.
        console: where the progress bar is drawn; None draws none.

    Returns:
        The manifest.

    Raises:
        CorpusError: when a modality has no store, a label is missing.
        StoreError: when a store cannot be read or written.
    """
    chosen = {modality: _stores(source, out, modality, getattr(options, modality)) for modality in MODALITIES}
    config = CollageConfig(**options.model_dump(include=set(CollageConfig.model_fields)))
    with progress_bar(console) as bar:
        task = bar.add_task("collage", total=None)
        return make_collage(
            chosen["faces"], chosen["speech"], chosen["text"], out, config, restart=restart,
            advance=lambda count: bar.advance(task, count),
        )  # fmt: skip


def _stores(source: Path, out: Path, modality: Modality, names: tuple[str, ...] | None) -> list[Path]:
    if names is not None:
        return [source / name for name in names]
    if not source.is_dir():
        raise CorpusError("no such folder", item=source, remedy="Give the folder in which the prepared stores are.")
    found = []
    for folder in sorted(source.iterdir()):
        if not (folder / "index.parquet").is_file() or folder.resolve() == out.resolve():
            continue
        manifest = Store(folder).manifest
        single = manifest["label_set"]["task"] == "single-label"
        if single and manifest["name"] != "collage" and manifest["account"]["modalities"][modality]:
            found.append(folder)
    if not found:
        raise CorpusError(f"holds no prepared store with {modality}", item=source, remedy="Prepare one there first.")
    return found
