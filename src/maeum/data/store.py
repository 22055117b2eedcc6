"""The prepared corpus on disk: tar shards and one Parquet index, written so that a kill at any point loses nothing.

store/
  settings.json       what the store is made from and how; written first, a rerun is held to it
  shards/<key>.tar    finished shards; the key is a hash of settings and content, so an equal shard is reused
  manifest.json       corpus, licence, citation, versions, and the account of every item
  left_out.csv        id, part and reason of every item that is not used, to read
  notes.csv           id, part and note of every item that something is to be known about, to read
  index.parquet       a row per utterance, with the place of its arrays; written last: with it the store is complete
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from maeum.config import difference
from maeum.corpora.base import LeftOut
from maeum.corpora.overlaps import Member
from maeum.corpora.targets import Target
from maeum.data.shards import (
    ARRAYS,
    REMAKE,
    Array,
    ShardWriter,
    StoreItem,
    read_array,
    read_rows,
)
from maeum.errors import ConfigError, StoreError
from maeum.files import TEMPORARY, atomic_write, write_error, write_whole
from maeum.labels import LabelSet

__all__ = ["LEFT_OUT", "NOTES", "Origin", "Store", "StoreItem", "StoreWriter", "digest"]

#: Raised when the meaning of what is stored changes; stores of another format are refused.
FORMAT = 1

#: Tables for people: what is left out and why, and what is to be known about what is used.
LEFT_OUT, NOTES = "left_out.csv", "notes.csv"

_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("part", pa.string()), ("label", pa.string()), ("text", pa.string()),
        ("speaker", pa.string()), ("dialogue", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64()),
        ("content", pa.string()), ("notes", pa.list_(pa.string())), ("provenance", pa.string()), ("shard", pa.string()),
        ("faces_offset", pa.int64()), ("faces_count", pa.int32()), ("faces_crc", pa.uint32()),
        ("faces_dtype", pa.string()),
        ("mel_chunks_offset", pa.int64()), ("mel_chunks_count", pa.int32()), ("mel_chunks_crc", pa.uint32()),
        ("mel_chunks_dtype", pa.string()),
        ("session", pa.string()), ("scales", pa.string()), ("media", pa.string()),
        ("other_labels", pa.string()), ("recording", pa.string()), ("recording_hash", pa.string()),
        ("wave_offset", pa.int64()), ("wave_count", pa.int32()), ("wave_crc", pa.uint32()), ("wave_dtype", pa.string()),
        ("spoken_text", pa.string()),
    ]
)  # fmt: skip
#: Columns that stores of earlier versions lack; nothing is known of them there.
_LATER = ("session", "scales", "media", "other_labels", "recording", "recording_hash",
          "wave_offset", "wave_count", "wave_crc", "wave_dtype", "spoken_text")  # fmt: skip


def digest(*parts: object) -> str:
    """A short hash of JSON-able things, equal whenever they are."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


@dataclass(frozen=True)
class Origin:
    """What an utterance was taken from: the recording's id, and the hash by which equal ones are known."""

    recording: str | None = None
    recording_hash: str | None = None


class StoreWriter:
    """Makes or completes a store. Use as a context manager; one process at a time holds a folder.

    Args:
        folder: where the store is to be; made when missing.
        settings: JSON-able; what, besides the sources' content, decides what the store holds.
        restart: throw away what was made with other settings. Where nothing was finished, nothing is asked.

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
        self._lock: int | None = None

    def __enter__(self) -> StoreWriter:
        try:
            self._shards.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise write_error(self.folder, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin()
        except BlockingIOError as error:
            self._release()
            raise StoreError("is being prepared by another process", item=self.folder,
                             remedy="Wait for it, or choose another folder.") from error  # fmt: skip
        except OSError as error:
            self._release()
            raise write_error(self.folder, error) from error
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _begin(self) -> None:
        path = self.folder / "settings.json"
        if path.exists():
            before = _read_json(path)
            if before != self.settings:
                if not self._restart and self._holds_something():
                    changes = difference(before, self.settings)
                    raise StoreError(f"was prepared with other settings: {changes}", item=self.folder,
                                     remedy="Choose another folder, or start anew with --restart.")  # fmt: skip
                # The index goes first: without it nothing that is left counts as a store.
                for name in ("index.parquet", "manifest.json", LEFT_OUT, NOTES, "settings.json"):
                    (self.folder / name).unlink(missing_ok=True)
        elif strangers := [
            p.name
            for p in self.folder.iterdir()
            if p.name not in (".lock", "shards") and not p.name.startswith(TEMPORARY)
        ]:
            raise StoreError(f"is not a store but holds other files ({strangers[0]})", item=self.folder,
                             remedy="Choose an empty or new folder.")  # fmt: skip
        for leftover in (*self.folder.glob(f"{TEMPORARY}*"), *self._shards.glob(f"{TEMPORARY}*")):
            leftover.unlink(missing_ok=True)
        write_whole(path, json.dumps(self.settings, indent=2, ensure_ascii=False), StoreError)

    def _holds_something(self) -> bool:
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
            origins: where each utterance comes from, by its id.

        Returns:
            The manifest as written, with its account of items.
        """
        rows: list[dict[str, Any]] = []
        origins, unknown = origins or {}, Origin()
        left_out = list(manifest.get("left_out", []))
        for path in shards:
            of_shard, gone = read_rows(path)
            rows += [{**row, **vars(origins.get(row["id"], unknown)), "shard": path.name} for row in of_shard]
            left_out += gone
        written = {**manifest, "settings": self.settings, "account": _account(rows, left_out), "left_out": left_out}
        table = pa.Table.from_pylist([{name: row.get(name) for name in _SCHEMA.names} for row in rows], schema=_SCHEMA)
        text = json.dumps(written, indent=2, ensure_ascii=False, default=str)
        write_whole(self.folder / "manifest.json", text, StoreError)
        notes = [{**row, "note": note} for row in rows for note in row["notes"]]
        _write_csv(self.folder / LEFT_OUT, ("id", "part", "reason"), left_out)
        _write_csv(self.folder / NOTES, ("id", "part", "note"), notes)
        with atomic_write(self.folder / "index.parquet") as file:
            pq.write_table(
                table.replace_schema_metadata({"maeum": json.dumps({"format": FORMAT, "key": self.key})}), file
            )
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
            if (self.folder / "settings.json").exists():
                raise StoreError("is not finished", item=self.folder, remedy=REMAKE)
            raise StoreError(
                "is not a store: it has no index.parquet", item=self.folder, remedy="Make one with prepare."
            )
        try:
            table = pq.read_table(index)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"the index is damaged ({error})", item=index, remedy=REMAKE) from error
        if missing := [name for name in _SCHEMA.names if name not in (*table.column_names, *_LATER)]:
            raise StoreError(f"the index has no column {missing[0]}", item=index, remedy=REMAKE)
        kept = json.loads((table.schema.metadata or {}).get(b"maeum", b"{}"))
        if kept.get("format") != FORMAT:
            raise StoreError(f"has format {kept.get('format')}, this version reads {FORMAT}", item=index,
                             remedy="Prepare the corpus again.")  # fmt: skip
        self.rows: list[dict[str, Any]] = [{**dict.fromkeys(_LATER), **row} for row in table.to_pylist()]
        self.manifest: dict[str, Any] = _read_json(self.folder / "manifest.json")
        self._files: dict[str, int] = {}
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def label_set(self) -> LabelSet:
        """What its labels are."""
        return LabelSet.from_dict(self.manifest["label_set"])

    @property
    def scales(self) -> LabelSet | None:
        """What its items have beside their label; None where there is nothing."""
        scales = self.manifest.get("scales")
        return None if scales is None else LabelSet.from_dict(scales)

    @property
    def other_labels(self) -> dict[str, LabelSet]:
        """The labels of other kinds that its items have, by kind."""
        kinds: Mapping[str, Any] = self.manifest.get("other_labels", {})
        return {kind: LabelSet.from_dict(labels) for kind, labels in kinds.items()}

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

    def wave(self, index: int) -> NDArray[np.float32] | None:
        """The sound of a row in -1..1, 16 kHz ``(samples,)``; None where the store does not keep it."""
        kept = self.array(index, "wave")
        return None if kept is None else kept.astype(np.float32) / np.float32(32768)

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
    said: str | None = row["spoken_text"] if row["provenance"] is not None else row["spoken_text"] or row["text"]
    return said if said and said.strip() else None


def _member(row: Mapping[str, Any], corpus: str) -> Member:
    label = None if row["label"] is None else json.loads(row["label"])
    composed = row["provenance"] is not None
    # Stores of earlier versions know no recordings, but what each row was decoded from.
    decoded = row["content"] if (row["faces_count"] or row["mel_chunks_count"]) and not composed else None
    return Member(
        id=row["id"],
        corpus=corpus,
        part=row["part"],
        speaker=row["speaker"],
        dialogue=row["dialogue"],
        recording=row["recording"],
        session=row["session"],
        content=row["recording_hash"] or decoded,
        made_of=tuple(json.loads(row["provenance"]).values()) if composed else (),
        labels=(label,) if isinstance(label, str) else tuple(label) if isinstance(label, list) else (),
    )


def _account(rows: Sequence[Mapping[str, Any]], left_out: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many items are used and left out, by part, by label, by modality, by reason."""
    parts: dict[str, dict[str, int]] = {}
    modalities = {"faces": 0, "speech": 0, "text": 0}
    for row in rows:
        labels = parts.setdefault(row["part"] or "none", {})
        label = "none" if row["label"] is None else json.loads(row["label"])
        for name in [label] if isinstance(label, str) else label:
            labels[name] = labels.get(name, 0) + 1
        modalities["faces"] += row["faces_count"] > 0
        modalities["speech"] += row["mel_chunks_count"] > 0
        modalities["text"] += bool(row["text"])
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row["part"] or "none"] = sizes.get(row["part"] or "none", 0) + 1
    return {
        "items": len(rows) + len(left_out),
        "used": len(rows),
        "left_out": len(left_out),
        "parts": sizes,
        "labels": {part: dict(sorted(counts.items())) for part, counts in parts.items()},
        "modalities": modalities,
        "with_notes": sum(bool(row["notes"]) for row in rows),
    }


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([row.get(name) for name in columns] for row in rows)
    write_whole(path, text.getvalue(), StoreError)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError("is missing", item=path, remedy=REMAKE) from error
    except (OSError, ValueError) as error:
        raise StoreError(f"is damaged ({error})", item=path, remedy=REMAKE) from error
