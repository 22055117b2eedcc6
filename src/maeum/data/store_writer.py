"""Writing a store: shards by one or many processes, then the index, so that a kill at any point loses little."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from maeum.config import format_difference
from maeum.corpora.base import LeftOut
from maeum.data.index import FORMAT, count_items, write_index
from maeum.data.shards import ARRAYS, ShardWriter, StoreItem, digest, read_array, read_rows
from maeum.data.store import LEFT_OUT, NOTES, read_json
from maeum.errors import StoreError
from maeum.files import TEMPORARY, atomic_write, is_beside, only_process, write_error, write_whole
from maeum.labels import LabelSet
from maeum.visible import csv_cell

#: The files of a store beside its shards; the index goes first, as without it nothing that is left counts as a store.
_FILES = ("index.parquet", "manifest.json", LEFT_OUT, NOTES, "settings.json")


@dataclass(frozen=True)
class Origin:
    """Where an utterance comes from; not part of a shard, so that a corpus may move without being decoded again."""

    recording: str | None = None
    """Id of the recording."""
    recording_hash: str | None = None
    """Hash of its content; equal recordings have equal ones."""
    media: str | None = None
    """Its file, relative to the manifest's ``media_root``; absolute where it lies elsewhere."""


class StoreWriter:
    """Makes or completes a store. Use as a context manager; one process at a time holds a folder.

    Args:
        folder: where the store is to be; made when missing.
        settings: JSON-able; what, besides the sources' content, decides what the store holds.
        restart: throw away what was made with other settings, or by another version of the store format, and a store
            whose settings are damaged. A folder in which no shard was finished needs no ``restart``.

    Raises:
        StoreError: when the folder holds a store made with other settings, or something else, or cannot be written, or
            another process is preparing it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], *, restart: bool = False) -> None:
        self.folder = Path(folder)
        self.settings: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **settings}, default=str))
        self.key = digest(self.settings)
        self._restart = restart
        self._shards = self.folder / "shards"
        self._held = ExitStack()

    def __enter__(self) -> StoreWriter:
        with ExitStack() as held:
            held.enter_context(only_process(self.folder, "prepared"))
            try:
                self._shards.mkdir(exist_ok=True)
                self._begin()
            except OSError as error:
                raise write_error(self.folder, error) from error
            self._held = held.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._held.close()

    def _begin(self) -> None:
        path = self.folder / "settings.json"
        present = [p.name for p in self.folder.iterdir() if not p.name.startswith(".") and not is_beside(p)]
        others = [name for name in present if name not in ("shards", *_FILES)]
        is_store = not others and ("index.parquet" in present or self._has_shards())
        if path.exists() or is_store:
            before = self._settings_before(path, replaceable=is_store)
            if before != self.settings:
                if not self._restart and self._has_shards():
                    if before.get("format") != FORMAT:
                        raise StoreError(
                            f"has the store format {before.get('format')}; this version writes {FORMAT}",
                            item=self.folder,
                            remedy="Choose another folder, or replace it with --restart.",
                        )
                    changes = format_difference(before, self.settings)
                    raise StoreError(f"was prepared with other settings: {changes}", item=self.folder,
                                     remedy="Choose another folder, or start anew with --restart.")  # fmt: skip
                for name in _FILES:
                    (self.folder / name).unlink(missing_ok=True)
        elif foreign := [name for name in present if name != "shards"]:
            raise StoreError(f"is not a store but holds other files ({foreign[0]})", item=self.folder,
                             remedy="Choose an empty or new folder.")  # fmt: skip
        for leftover in (*self.folder.glob(f"{TEMPORARY}*"), *self._shards.glob(f"{TEMPORARY}*")):
            leftover.unlink(missing_ok=True)
        write_whole(path, json.dumps(self.settings, indent=2, ensure_ascii=False), StoreError)

    def _settings_before(self, path: Path, *, replaceable: bool) -> dict[str, Any]:
        """The settings of the store that is there; empty where they are damaged and the store is made anew."""
        try:
            before = read_json(path)
            problem = "" if isinstance(before, dict) else f"is damaged (a {type(before).__name__}, no mapping)"
        except StoreError as error:
            before, problem = {}, error.problem
        if not problem:
            return dict(before)
        if replaceable and self._restart:
            return {}
        replace = ", or replace the store with --restart" if replaceable else ""
        raise StoreError(problem, item=path, remedy=f"Choose another folder{replace}.")

    def _has_shards(self) -> bool:
        return any(not path.name.startswith(TEMPORARY) for path in self._shards.iterdir())

    def shard_path(self, content: Sequence[str]) -> Path:
        """The file of the shard made of these contents (ids and hashes) with this store's settings."""
        return self._shards / f"{digest(self.key, list(content))}.tar"

    def has(self, path: Path) -> bool:
        """Whether that shard is finished and can be read; a damaged one is removed."""
        if not path.exists():
            return False
        try:
            rows, _ = read_rows(path)
            with path.open("rb") as file:
                for row in rows:
                    for name in ARRAYS:
                        read_array(
                            lambda _, at, size: os.pread(file.fileno(), size, at), path.name, row, name, self._shards
                        )
        except StoreError:
            path.unlink(missing_ok=True)
            return False
        return True

    def finish(
        self, shards: Sequence[Path], manifest: Mapping[str, Any], origins: Mapping[str, Origin] | None = None
    ) -> dict[str, Any]:
        """Write manifest, tables and index, then remove shards that no longer belong.

        Args:
            shards: all finished shards in the order of the corpus.
            manifest: JSON-able; ``left_out`` of the shards is appended to its own.
            origins: utterance id -> where it comes from.

        Returns:
            The manifest as written, with its account of items.
        """
        rows: list[dict[str, Any]] = []
        origins, unknown = origins or {}, Origin()
        left_out = list(manifest.get("left_out", []))
        for path in shards:
            shard_rows, shard_left_out = read_rows(path)
            rows += [{**row, **asdict(origins.get(row["id"], unknown)), "shard": path.name} for row in shard_rows]
            left_out += shard_left_out
        if twice := [a for a, b in pairwise(sorted(row["key"] for row in rows)) if a == b]:
            raise StoreError(f"the id of item {twice[0]} is used twice", item=self.folder)
        written = {**manifest, "settings": self.settings, "account": count_items(rows, left_out), "left_out": left_out}
        text = json.dumps(written, indent=2, ensure_ascii=False, default=str)
        write_whole(self.folder / "manifest.json", text, StoreError)
        notes = [{**row, "note": note} for row in rows for note in row["notes"]]
        _write_csv(self.folder / LEFT_OUT, ("id", "part", "reason"), left_out)
        _write_csv(self.folder / NOTES, ("id", "part", "note"), notes)
        label_set = LabelSet.from_dict(manifest["label_set"]) if "label_set" in manifest else None
        with atomic_write(self.folder / "index.parquet") as file:
            write_index(file, rows, label_set, {"key": self.key})
        wanted = {path.name for path in shards}
        for path in self._shards.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)
        return written


def write_shard(path: Path, items: Iterable[StoreItem | LeftOut], done: Callable[[], None] | None = None) -> None:
    """Write one shard, whole or not at all; ``done`` is called after each item. Raises StoreError."""
    left_out: list[dict[str, Any]] = []
    with atomic_write(path) as file:
        writer = ShardWriter(file)
        for item in items:
            if isinstance(item, LeftOut):
                left_out.append({"id": item.id, "reason": item.reason, "part": item.part})
            else:
                writer.add(item)
            if done is not None:
                done()
        writer.close(left_out)


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([csv_cell(row.get(name) or "") for name in columns] for row in rows)
    write_whole(path, text.getvalue(), StoreError)
