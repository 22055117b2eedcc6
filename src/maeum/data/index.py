"""The index of a store: one row per utterance, as a Parquet table whose columns have the types of what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from maeum.data.shards import ARRAYS
from maeum.labels import LabelSet

#: Raised when the meaning of what is stored changes; stores of another format are refused.
FORMAT = 2

#: What is known of an utterance. The column ``label`` stands behind ``part``; its type is that of the label set.
_ABOUT = {
    "id": pa.string(),
    "part": pa.string(),
    "text": pa.string(),
    "spoken_text": pa.string(),
    "speaker": pa.string(),
    "dialogue": pa.string(),
    "session": pa.string(),
    "recording": pa.string(),
    "media": pa.string(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "duration_s": pa.float64(),
    "notes": pa.list_(pa.string()),
    "content": pa.string(),
    "recording_hash": pa.string(),
    "key": pa.string(),
    "shard": pa.string(),
}
#: Where an array lies in the shard, and what it is.
_PLACE = {"offset": pa.int64(), "count": pa.int32(), "crc": pa.uint32(), "dtype": pa.string()}
#: Columns that hold a value for each of some names, and the type of these values. They are present where a row has any.
_NAMED = {"scales": pa.float64(), "other_labels": pa.string(), "provenance": pa.string()}


def write_index(
    file: IO[bytes], rows: Sequence[Mapping[str, Any]], label_set: LabelSet | None, metadata: Mapping[str, Any]
) -> None:
    """Write the table of a store's rows.

    The column ``label`` is a string of a single-label set, a list of strings of a multi-label set, and a struct with a
    float for each scale of a dimensional set. ``scales``, ``other_labels`` and ``provenance`` are structs.

    Args:
        file: opened for writing.
        rows: as the shards describe them, see `maeum.data.shards`.
        label_set: what the labels are; single labels when None.
        metadata: JSON-able; kept in the schema, under ``maeum``.
    """
    columns = {"id": _ABOUT["id"], "part": _ABOUT["part"], "label": _label_type(label_set), **_ABOUT}
    for name, value_type in _NAMED.items():
        if names := sorted({key for row in rows for key in row.get(name) or ()}):
            columns[name] = pa.struct([(key, value_type) for key in names])
    columns |= {f"{name}_{what}": kind for name in ARRAYS for what, kind in _PLACE.items()}
    table = pa.Table.from_pylist(
        [{name: row.get(name) for name in columns} for row in rows], schema=pa.schema(list(columns.items()))
    )
    pq.write_table(table.replace_schema_metadata({"maeum": json.dumps({"format": FORMAT, **metadata})}), file)


def read_index(file: Any) -> tuple[Any, list[dict[str, Any]]]:
    """The format of an index, and its rows where that is `FORMAT`.

    Names of a struct that a row has no value for are left out of it; a column that the table lacks is None.

    Raises:
        pyarrow.ArrowException, OSError, KeyError: when it is damaged.
    """
    table = pq.read_table(file)
    found = json.loads((table.schema.metadata or {}).get(b"maeum", b"{}")).get("format")
    if found != FORMAT:
        return found, []
    if missing := [name for name in ("label", *_ABOUT) if name not in table.column_names]:
        raise KeyError(f"no column {missing[0]}")
    return found, [_without_gaps({**dict.fromkeys(_NAMED), **row}) for row in table.to_pylist()]


def label_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a row is labelled with; none where it has no label, or values on scales."""
    label = row["label"]
    return (label,) if isinstance(label, str) else tuple(label) if isinstance(label, list) else ()


def count_items(rows: Sequence[Mapping[str, Any]], left_out: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """How many items are used and left out, by part, by label and by modality."""
    parts: dict[str, int] = {}
    labels: dict[str, dict[str, int]] = {}
    modalities = {"faces": 0, "speech": 0, "text": 0}
    for row in rows:
        part = row["part"] or "none"
        parts[part] = parts.get(part, 0) + 1
        counts = labels.setdefault(part, {})
        # Of a row with values on scales, the scales that it has a value for.
        for name in ("none",) if row["label"] is None else label_names(row) or tuple(row["label"]):
            counts[name] = counts.get(name, 0) + 1
        modalities["faces"] += row["faces_count"] > 0
        modalities["speech"] += row["mel_chunks_count"] > 0
        modalities["text"] += bool(row["text"])
    gone = sum(1 for _ in left_out)
    return {
        "items": len(rows) + gone,
        "used": len(rows),
        "left_out": gone,
        "parts": parts,
        "labels": {part: dict(sorted(counts.items())) for part, counts in labels.items()},
        "modalities": modalities,
        "with_notes": sum(bool(row["notes"]) for row in rows),
    }


def _label_type(label_set: LabelSet | None) -> pa.DataType:
    if label_set is None or label_set.task == "single-label":
        return pa.string()
    if label_set.task == "multi-label":
        return pa.list_(pa.string())
    return pa.struct([(name, pa.float64()) for name in label_set.names])


def _without_gaps(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("label", *_NAMED):
        if isinstance(row[name], dict):
            row[name] = {key: value for key, value in row[name].items() if value is not None}
    return row
