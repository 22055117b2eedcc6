"""The index of a store: columns have the types of what they hold."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maeum.data.index import count_items, label_names, read_index
from maeum.data.shards import StoreItem
from maeum.data.store import Store
from maeum.data.store_writer import Origin, StoreWriter, write_shard
from maeum.labels import EKMAN, LabelSet
from maeum.types import Utterance

SEVERAL = LabelSet(("joy", "fear"), "multi-label")
AFFECT = LabelSet(("valence", "arousal"), "dimensional", ((1, 5), (1, 5)))


def make(folder: Path, label_set: LabelSet, items: list[StoreItem], **manifest: Any) -> Path:
    with StoreWriter(folder, {}) as writer:
        path = writer.shard_path(["one"])
        write_shard(path, items)
        origins = {"a": Origin("a.mp4", "hash", "sub/a.mp4"), "b": Origin("b.mp4", "hash", "/elsewhere/b.mp4")}
        writer.finish([path], {"name": "made", "label_set": label_set.to_dict(), **manifest}, origins)
    return folder / "index.parquet"


@pytest.mark.parametrize(
    ("label_set", "labels", "kind", "stored"),
    [
        (EKMAN, ("fear", None), pa.string(), ["fear", None]),
        (SEVERAL, (("joy", "fear"), ()), pa.list_(pa.string()), [["joy", "fear"], []]),
        (
            AFFECT,
            ({"valence": 2.5}, None),
            pa.struct([("valence", pa.float64()), ("arousal", pa.float64())]),
            [{"valence": 2.5, "arousal": None}, None],
        ),
    ],
)
def test_labels_have_the_type_of_their_kind(
    tmp_path: Path, label_set: LabelSet, labels: tuple[Any, Any], kind: pa.DataType, stored: list[Any]
):
    items = [StoreItem(Utterance(id, text="x", label=label)) for id, label in zip("ab", labels, strict=True)]
    table = pq.read_table(make(tmp_path, label_set, items))
    assert table.schema.field("label").type == kind
    assert table["label"].to_pylist() == stored
    again = [row["label"] for row in Store(tmp_path).rows]
    assert again == [list(label) if isinstance(label, tuple) else label for label in labels]


def test_an_index_without_any_label_has_the_type_all_the_same(tmp_path: Path):
    table = pq.read_table(make(tmp_path, SEVERAL, [StoreItem(Utterance("a", text="x"))]))
    assert table.schema.field("label").type == pa.list_(pa.string())


def test_scales_and_labels_of_other_kinds_and_sources_are_structs(tmp_path: Path):
    items = [
        StoreItem(Utterance("a", text="x", scales={"EmoVal": 3.0}, other_labels={"sentiment": "positive"})),
        StoreItem(Utterance("b", text="y", scales={"EmoAct": 1.0, "EmoVal": 2.0}), provenance={"face": "other:1"}),
    ]
    table = pq.read_table(make(tmp_path, EKMAN, items)).flatten()
    assert table["scales.EmoVal"].to_pylist() == [3.0, 2.0]
    assert table["scales.EmoAct"].to_pylist() == [None, 1.0]
    assert table["other_labels.sentiment"].to_pylist() == ["positive", None]
    assert table["provenance.face"].to_pylist() == [None, "other:1"]
    first, second = Store(tmp_path).rows
    assert (first["scales"], first["other_labels"], first["provenance"]) == (
        {"EmoVal": 3.0}, {"sentiment": "positive"}, None,
    )  # fmt: skip
    assert (second["scales"], second["other_labels"]) == ({"EmoAct": 1.0, "EmoVal": 2.0}, None)


def test_times_are_those_that_were_read(tmp_path: Path):
    items = [
        StoreItem(Utterance("a", text="x", start_s=-0.5, end_s=9.0), duration_s=1.5),
        StoreItem(Utterance("b", text="y", start_s=2.0), duration_s=0.25),
        StoreItem(Utterance("c", text="z")),
    ]
    rows = pq.read_table(make(tmp_path, EKMAN, items), columns=["start_s", "end_s", "duration_s"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [(0.0, 1.5, 1.5), (2.0, 2.25, 0.25), (None, None, None)]


def test_media_are_named_from_the_source_folder_on(tmp_path: Path):
    items = [StoreItem(Utterance("a", text="x")), StoreItem(Utterance("b", text="y"))]
    table = pq.read_table(make(tmp_path, EKMAN, items, media_root="/corpus"))
    assert table["media"].to_pylist() == ["sub/a.mp4", "/elsewhere/b.mp4"]
    assert [row["media"] for row in Store(tmp_path).rows] == ["/corpus/sub/a.mp4", "/elsewhere/b.mp4"]


def test_a_missing_column_is_named(tmp_path: Path):
    index = make(tmp_path, EKMAN, [StoreItem(Utterance("a", text="x"))])
    pq.write_table(pq.read_table(index).drop_columns(["speaker"]), index)
    with pytest.raises(KeyError, match="no column speaker"):
        read_index(io.BytesIO(index.read_bytes()))


def test_counts_of_labels_by_part():
    def row(part: str | None, label: Any) -> dict[str, Any]:
        about = {"faces_count": 1, "mel_chunks_count": 0, "text": "x", "notes": []}
        return {"part": part, "label": label, **about}

    rows = [row("train", "fear"), row("train", ["joy", "fear"]), row("dev", {"valence": 1.0}), row(None, None)]
    assert [label_names(r) for r in rows] == [("fear",), ("joy", "fear"), (), ()]
    counted = count_items(rows, [{"id": "gone"}])
    assert (counted["items"], counted["used"], counted["left_out"]) == (5, 4, 1)
    assert counted["labels"] == {"train": {"fear": 2, "joy": 1}, "dev": {"valence": 1}, "none": {"none": 1}}
    assert counted["modalities"] == {"faces": 4, "speech": 0, "text": 4}
