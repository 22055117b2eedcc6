"""One shard of a store: a tar of arrays and their descriptions.

A shard is an ordinary tar (``tar tf`` lists it, webdataset reads it). Each item has the members ``KEY.json``,
``KEY.faces.npy``, ``KEY.mel_chunks.npy`` and ``KEY.wave.npy``, of which arrays that it lacks are missing; keys are
unique over all shards of a store. Then follow ``__rows__``, which says at which byte each array starts, so that the
index can be made from the shards alone, and ``__end__``, one block that says where ``__rows__`` is. Readers of
webdataset skip names with such underscores.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import StoreError
from maeum.media.shapes import FACE_PX, MEL_CHUNK_SHAPE
from maeum.types import Utterance

#: The arrays of an item, and the shape of one element of each.
ARRAYS: dict[str, tuple[int, ...]] = {
    "faces": (3, FACE_PX, FACE_PX),
    "mel_chunks": (1, *MEL_CHUNK_SHAPE),
    "wave": (),
}

_BLOCK = tarfile.BLOCKSIZE
#: Readers take a member's name up to the first dot as the item's key; names of tar members hold 100 bytes.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,71}")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_-]+")

Array = NDArray[Any]


@dataclass(frozen=True)
class StoreItem:
    """One utterance as it is written into a store."""

    utterance: Utterance
    faces: Array | None = None
    """RGB, uint8, ``(frames, 3, 48, 48)``."""
    mel_chunks: Array | None = None
    """Log-mel of 400 ms each, float16 or float32, ``(mel_chunks, 1, 128, 32)``."""
    wave: Array | None = None
    """The sound itself, 16 kHz mono, int16, ``(samples,)``; see `as_samples`."""
    content: str = ""
    """Hash of the files, times and words that it was decoded from."""
    notes: tuple[str, ...] = ()
    """What to know about it, such as frames without a face or a truncated file."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Of an item composed of others: which ones, such as ``{"face": "fer2013:train/happy/1"}``."""
    spoken_text: str | None = None
    """The words that its sound says, where these are not its text."""
    duration_s: float | None = None
    """Seconds of the recording that were read; None without sound and without moving pictures."""


def as_samples(wave: Array) -> Array:
    """A sound in -1..1 as a store keeps it; `Store.wave` reads it again."""
    return np.clip(np.rint(np.asarray(wave, np.float32) * 32768), -32768, 32767).astype(np.int16)


def digest(*parts: object) -> str:
    """A short hash of JSON-able things, equal whenever they are."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def item_key(id: str) -> str:
    """The name of an item's members: its id where that is plain, else a plain form of it with a hash of the id."""
    if _PLAIN_KEY.fullmatch(id):
        return id
    return f"{_NOT_PLAIN.sub('_', id)[:40].strip('_-') or 'item'}-{digest(id)}"


class ShardWriter:
    """Writes the members of one shard into an open file, noting where each array lies."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._position = 0
        self.rows: list[dict[str, Any]] = []

    def add(self, item: StoreItem) -> None:
        """Append one item.

        Raises:
            StoreError: when an array has another shape or type than `StoreItem` says.
        """
        utterance = item.utterance
        key = item_key(utterance.id)
        start_s = None if item.duration_s is None else max(utterance.start_s, 0.0)
        check_array(item.faces, "faces", ("uint8",), utterance.id)
        check_array(item.mel_chunks, "mel_chunks", ("float16", "float32"), utterance.id)
        check_array(item.wave, "wave", ("int16",), utterance.id)
        row: dict[str, Any] = {
            "key": key,
            "id": utterance.id,
            "part": utterance.part,
            "label": _plain(utterance.label),
            "text": utterance.text,
            "speaker": utterance.speaker,
            "dialogue": utterance.dialogue,
            "start_s": start_s,
            "end_s": None if start_s is None or item.duration_s is None else round(start_s + item.duration_s, 6),
            "duration_s": None if item.duration_s is None else round(item.duration_s, 6),
            "session": utterance.session,
            "scales": None if utterance.scales is None else dict(utterance.scales),
            "other_labels": None if utterance.other_labels is None else dict(utterance.other_labels),
            "content": item.content,
            "notes": list(item.notes),
            "spoken_text": item.spoken_text,
            "provenance": dict(sorted(item.provenance.items())) if item.provenance else None,
        }
        self._member(f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
        for name, array in (("faces", item.faces), ("mel_chunks", item.mel_chunks), ("wave", item.wave)):
            offset, count, crc, dtype = self._array(f"{key}.{name}.npy", array)
            row |= {f"{name}_offset": offset, f"{name}_count": count, f"{name}_crc": crc, f"{name}_dtype": dtype}
        self.rows.append(row)

    def close(self, left_out: list[dict[str, Any]]) -> None:
        """Write the description of all members, and the end of the tar."""
        data = json.dumps({"rows": self.rows, "left_out": left_out}, ensure_ascii=False).encode()
        start = self._member("__rows__", data)
        end = json.dumps({"start": start, "size": len(data), "crc": zlib.crc32(data)}).encode()
        self._member("__end__", end.ljust(_BLOCK))
        self._file.write(bytes(2 * _BLOCK))

    def _array(self, name: str, array: Array | None) -> tuple[int, int, int, str | None]:
        if array is None or len(array) == 0:
            return 0, 0, 0, None
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
        raw = buffer.getvalue()
        data = memoryview(raw)[len(raw) - array.nbytes :]
        start = self._member(name, raw) + len(raw) - array.nbytes
        return start, len(array), zlib.crc32(data), str(array.dtype)

    def _member(self, name: str, data: bytes) -> int:
        """Append a member; returns the byte at which its data starts."""
        header = tarfile.TarInfo(name)
        header.size = len(data)
        self._file.write(header.tobuf(tarfile.USTAR_FORMAT))
        start = self._position + _BLOCK
        self._file.write(data)
        padding = -len(data) % _BLOCK
        self._file.write(bytes(padding))
        self._position = start + len(data) + padding
        return start


def read_rows(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows and the left-out items of a shard.

    Raises:
        StoreError: when the shard is missing, damaged or cut off.
    """
    try:
        with path.open("rb") as file:
            file.seek(-3 * _BLOCK, io.SEEK_END)
            end = json.loads(file.read(_BLOCK))
            file.seek(end["start"])
            data = file.read(end["size"])
        if zlib.crc32(data) != end["crc"]:
            raise StoreError("the shard is damaged (wrong checksum)", item=path, remedy=REMAKE)
        content = json.loads(data)
        return content["rows"], content["left_out"]
    except FileNotFoundError as error:
        raise StoreError("the shard is missing", item=path, remedy=REMAKE) from error
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise StoreError(f"the shard is damaged ({error})", item=path, remedy=REMAKE) from error


REMAKE = "Run prepare again with the same settings; it makes what is missing."

Read = Callable[[str, int, int], bytes]


def read_array(read: Read, shard: str, row: Mapping[str, Any], name: str, folder: Path) -> Array | None:
    """One array of a row, checked against its checksum.

    Args:
        read: gives ``size`` bytes of a shard from an offset on.
        shard: the shard's file name.
        row: a row of the index.
        name: one of `ARRAYS`.
        folder: where the shards are, for the message.

    Raises:
        StoreError: naming the shard when it is missing, cut off or altered.
    """
    count = row.get(f"{name}_count")
    if not count:
        return None
    dtype = np.dtype(row[f"{name}_dtype"])
    shape = (count, *ARRAYS[name])
    size = int(np.prod(shape)) * dtype.itemsize
    data = read(shard, row[f"{name}_offset"], size)
    if len(data) != size or zlib.crc32(data) != row[f"{name}_crc"]:
        problem = "is cut off" if len(data) != size else "is damaged (wrong checksum)"
        raise StoreError(f"{problem} at the {name} of {row['id']}", item=folder / shard, remedy=REMAKE)
    return np.frombuffer(data, dtype).reshape(shape)


def check_array(array: Array | None, name: str, dtypes: tuple[str, ...], id: str) -> None:
    """Raise StoreError when an array has not the shape of its kind (`ARRAYS`) or one of the types, or holds NaN."""
    if array is None:
        return
    shape = ARRAYS[name]
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape or str(array.dtype) not in dtypes:
        raise StoreError(
            f"{name} are {array.dtype} {array.shape}, expected {' or '.join(dtypes)} (count, {shape})", item=id
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise StoreError(f"{name} hold numbers that are not finite", item=id)


def _plain(label: str | tuple[str, ...] | Mapping[str, float] | None) -> Any:
    """A label as JSON has it."""
    if label is None or isinstance(label, str):
        return label
    return dict(label) if isinstance(label, Mapping) else list(label)
