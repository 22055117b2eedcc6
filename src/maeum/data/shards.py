"""One shard of a store: a tar of arrays and their descriptions, whole or absent, never half.

A shard is an ordinary tar (``tar tf`` lists it, webdataset reads it): ``000012.json``, ``000012.faces.npy``,
``000012.mel_chunks.npy``, ``000012.wave.npy`` for each item, then ``rows.json``, which says at which byte each array
starts, so that the index can be made from the shards alone, and ``end.json``, one block that says where ``rows.json``
is.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import StoreError
from maeum.types import Utterance

#: The arrays of an item, and the shape of one element of each.
ARRAYS: dict[str, tuple[int, ...]] = {"faces": (3, 48, 48), "mel_chunks": (1, 128, 32), "wave": ()}

_BLOCK = tarfile.BLOCKSIZE

Array = NDArray[Any]


@dataclass(frozen=True)
class StoreItem:
    """One utterance on its way into a store.

    faces: uint8 RGB ``(frames, 3, 48, 48)``. mel_chunks: log-mel ``(mel_chunks, 1, 128, 32)``, float16 or float32.
    wave: the sound itself, 16 kHz mono, int16 ``(samples,)``. content: hash of what it was made from. notes: what to
    know about it (frames without a face, a truncated file). provenance: for a composed item, the ids it is made of.
    spoken_text: the words that its sound says, where these are not its text.
    """

    utterance: Utterance
    faces: Array | None = None
    mel_chunks: Array | None = None
    wave: Array | None = None
    content: str = ""
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    spoken_text: str | None = None


def as_samples(wave: Array) -> Array:
    """A sound in -1..1 as a store keeps it; `Store.wave` reads it again."""
    return np.clip(np.rint(np.asarray(wave, np.float32) * 32768), -32768, 32767).astype(np.int16)


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
        key = f"{len(self.rows):06d}"
        utterance = item.utterance
        check_array(item.faces, "faces", ("uint8",), utterance.id)
        check_array(item.mel_chunks, "mel_chunks", ("float16", "float32"), utterance.id)
        check_array(item.wave, "wave", ("int16",), utterance.id)
        row: dict[str, Any] = {
            "id": utterance.id,
            "part": utterance.part,
            "label": None if utterance.label is None else json.dumps(_plain(utterance.label)),
            "text": utterance.text,
            "speaker": utterance.speaker,
            "dialogue": utterance.dialogue,
            "start_s": utterance.start_s,
            "end_s": utterance.end_s,
            "session": utterance.session,
            "scales": None if utterance.scales is None else json.dumps(dict(utterance.scales)),
            "media": _media(utterance),
            "other_labels": None if utterance.other_labels is None else json.dumps(dict(utterance.other_labels)),
            "content": item.content,
            "notes": list(item.notes),
            "spoken_text": item.spoken_text,
            "provenance": json.dumps(dict(item.provenance), sort_keys=True) if item.provenance else None,
        }
        self._member(f"{key}.json", json.dumps(row, ensure_ascii=False).encode())
        for name, array in (("faces", item.faces), ("mel_chunks", item.mel_chunks), ("wave", item.wave)):
            offset, count, crc, dtype = self._array(f"{key}.{name}.npy", array)
            row |= {f"{name}_offset": offset, f"{name}_count": count, f"{name}_crc": crc, f"{name}_dtype": dtype}
        self.rows.append(row)

    def close(self, left_out: list[dict[str, Any]]) -> None:
        """Write the description of all members, and the end of the tar."""
        data = json.dumps({"rows": self.rows, "left_out": left_out}, ensure_ascii=False).encode()
        start = self._member("rows.json", data)
        end = json.dumps({"start": start, "size": len(data), "crc": zlib.crc32(data)}).encode()
        self._member("end.json", end.ljust(_BLOCK))
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


def _media(utterance: Utterance) -> str | None:
    """The file that shows or speaks the utterance, as the corpus found it."""
    recording = utterance.recording
    path = None if recording is None else recording.video or recording.audio
    return None if path is None else str(path)


def _plain(label: str | tuple[str, ...] | Mapping[str, float]) -> Any:
    return label if isinstance(label, str) else dict(label) if isinstance(label, Mapping) else list(label)
