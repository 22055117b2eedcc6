"""The prepared corpus on disk: tar shards and one Parquet index.

store/
  settings.json       what the store is made from and how; a rerun with other settings is refused
  shards/<key>.tar    finished shards; the key is a hash of settings and content, so an equal shard is reused
  manifest.json       corpus, licence, citation, source folder, versions, and the counts of items
  left_out.csv        id, part and reason of every item that is not used
  notes.csv           id, part and note of every item with a note
  index.parquet       a row per utterance, with the place of its arrays; written last: with it the store is complete
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maeum.corpora.base import PARTS
from maeum.corpora.overlaps import Member
from maeum.corpora.targets import Target
from maeum.data.index import FORMAT, label_names, read_index
from maeum.data.shards import ARRAYS, REMAKE, Array, read_array
from maeum.errors import ConfigError, StoreError
from maeum.labels import LabelSet

#: Tables for people: what is left out and why, and notes on what is used.
LEFT_OUT, NOTES = "left_out.csv", "notes.csv"


class Store:
    """A complete store, for reading. Safe to share between threads and to hand to worker processes.

    Args:
        folder: a folder that `StoreWriter` finished.

    Raises:
        StoreError: when it is missing, unfinished or damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        index = self.folder / "index.parquet"
        if not index.exists():
            if not self.folder.exists():
                raise StoreError(
                    "no such folder", item=self.folder, remedy="Give the folder of a store; `maeum prepare` makes one."
                )
            if (self.folder / "settings.json").exists():
                raise StoreError("is not finished", item=self.folder, remedy=REMAKE)
            raise StoreError(
                "is not a store: it has no index.parquet", item=self.folder, remedy="Make one with prepare."
            )
        try:
            found, rows = read_index(index)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise StoreError(f"the index is damaged ({error})", item=index, remedy=REMAKE) from error
        if found != FORMAT:
            raise StoreError(f"has the store format {found}; this version reads {FORMAT}", item=self.folder,
                             remedy="Make it again: the command that made it, with --restart.")  # fmt: skip
        self.manifest = _checked(read_json(self.folder / "manifest.json"), self.folder / "manifest.json")
        if strange := next((row for row in rows if row["part"] not in (None, *PARTS)), None):
            raise StoreError(f"the index is damaged (the part of {strange['id']} is {strange['part']!r}, none of "
                             f"{', '.join(PARTS)})", item=index, remedy=REMAKE)  # fmt: skip
        ids = Counter(row["id"] for row in rows)
        if twice := next((id for id, count in ids.items() if count > 1), None):
            raise StoreError(f"the index is damaged ({twice} stands in it twice)", item=index, remedy=REMAKE)
        media_root = Path(self.manifest.get("media_root", ""))
        #: Its rows as `maeum.data.index` describes them; ``media`` with the manifest's ``media_root`` before it.
        self.rows: list[dict[str, Any]] = [{**r, "media": r["media"] and str(media_root / r["media"])} for r in rows]
        self._files: dict[str, int] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def label_set(self) -> LabelSet:
        """What its labels are."""
        return self._read_labels(self.manifest["label_set"])

    @property
    def scales(self) -> LabelSet | None:
        """What its items have beside their label; None where there is nothing."""
        scales = self.manifest.get("scales")
        return None if scales is None else self._read_labels(scales)

    @property
    def other_labels(self) -> dict[str, LabelSet]:
        """The labels of other kinds that its items have, by kind."""
        kinds: Mapping[str, Any] = self.manifest.get("other_labels", {})
        return {kind: self._read_labels(labels) for kind, labels in kinds.items()}

    def _read_labels(self, labels: Any) -> LabelSet:
        try:
            return LabelSet.from_dict(labels if isinstance(labels, Mapping) else {"names": labels})
        except ConfigError as error:
            raise StoreError(f"is damaged ({error})", item=self.folder / "manifest.json", remedy=REMAKE) from error

    def target(self, target: str | Target) -> Target:
        """One of its targets by name (a target is given back as it is); raises ConfigError on an unknown one."""
        if isinstance(target, Target):
            return target
        known: dict[str, Any] = self.manifest.get("targets", {})
        if target not in known:
            raise ConfigError(f"has no target {target!r}", item=self.folder,
                              remedy=f"Its targets: {', '.join(known) or 'none'}.")  # fmt: skip
        return Target.parse(known[target], item=self.folder)

    def members(self) -> list[Member]:
        """What decides which rows may be in different parts, in their order."""
        name = str(self.manifest["name"])
        return [_member(row, name) for row in self.rows]

    def array(self, index: int, name: str) -> Array | None:
        """One of `ARRAYS` of a row, None where it has none; raises StoreError on a damaged shard."""
        row = self.rows[index]
        return read_array(self._read, row["shard"], row, name, self.folder / "shards")

    def check_waves(self, rows: Iterable[Mapping[str, Any]], reader: str) -> None:
        """Raise StoreError when one of these rows has sound, but not the wave, which ``reader`` reads."""
        if without := next((r["id"] for r in rows if r["mel_chunks_count"] and not r["wave_count"]), None):
            raise StoreError(f"does not keep the sound itself ({without} has none), which {reader} reads",
                             item=self.folder, remedy="Prepare it elsewhere without --no-wave.")  # fmt: skip

    def wave(self, index: int) -> NDArray[np.float32] | None:
        """The sound of a row in -1..1, 16 kHz ``(samples,)``; None where the store does not keep it."""
        samples = self.array(index, "wave")
        return None if samples is None else samples.astype(np.float32) / np.float32(32768)

    def verify(self) -> None:
        """Read everything once; raises StoreError at the first damage."""
        for index in range(len(self)):
            for name in ARRAYS:
                self.array(index, name)

    def close(self) -> None:
        """Close the shards; they open again when read."""
        with self._guard:
            for file in self._files.values():
                os.close(file)
            self._files.clear()

    def _read(self, shard: str, offset: int, size: int) -> bytes:
        # pread has no shared position, so threads and forked workers can use one descriptor.
        path = self.folder / "shards" / shard
        try:
            with self._guard:
                if shard not in self._files:
                    self._files[shard] = os.open(path, os.O_RDONLY)
                file = self._files[shard]
            return os.pread(file, size, offset)
        except FileNotFoundError as error:
            raise StoreError("the shard is missing", item=path, remedy=REMAKE) from error
        except OSError as error:
            raise StoreError(f"the shard cannot be read: {error.strerror or error}", item=path) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_files", "_guard")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._files, self._guard = {}, threading.Lock()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.close()


def spoken_text_of(row: Mapping[str, Any]) -> str | None:
    """The words that an item's sound says, where they are known; a composed item's text is somebody else's."""
    text: str | None = row["spoken_text"] if row["provenance"] is not None else row["spoken_text"] or row["text"]
    return text if text and text.strip() else None


def _member(row: Mapping[str, Any], corpus: str) -> Member:
    return Member(
        id=row["id"],
        corpus=corpus,
        part=row["part"],
        speaker=row["speaker"],
        dialogue=row["dialogue"],
        recording=row["recording"],
        session=row["session"],
        content=row["recording_hash"],
        composed_of=tuple((row["provenance"] or {}).values()),
        labels=label_names(row),
    )


#: What the values of a manifest are that somebody may have edited.
_KINDS: dict[str, type] = {
    "name": str, "label_set": dict, "targets": dict, "other_labels": dict, "settings": dict, "account": dict,
    "media_root": str, "licence": str, "modalities": list, "notes": list, "left_out": list,
}  # fmt: skip


def _checked(manifest: Any, path: Path) -> dict[str, Any]:
    """The manifest; raises StoreError where it is none."""
    if not isinstance(manifest, dict):
        raise StoreError(f"is damaged (a {type(manifest).__name__}, no mapping)", item=path, remedy=REMAKE)
    for name, kind in _KINDS.items():
        if not isinstance(manifest.get(name, kind()), kind) or (name == "name" and name not in manifest):
            what = f"its {name!r} is {manifest[name]!r:.60}" if name in manifest else f"it has no {name!r}"
            raise StoreError(f"is damaged ({what})", item=path, remedy=REMAKE)
    return manifest


def read_json(path: Path) -> Any:
    """A JSON file of a store; raises StoreError when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError("is missing", item=path, remedy=REMAKE) from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"is damaged ({error})", item=path, remedy=REMAKE) from error
