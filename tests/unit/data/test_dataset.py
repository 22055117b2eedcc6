"""Prepared corpora as clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from label_counts import class_counts
from maeum.data.collate import Collator
from maeum.data.dataset import JointDataset, StoreDataset
from maeum.data.shards import StoreItem
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError, StoreError
from maeum.labels import EKMAN, EMOTIONS, LabelSet
from maeum.types import Utterance

MULTI = LabelSet(EMOTIONS, "multi-label")


def build(folder: Path, items: list[StoreItem], labels: LabelSet = EKMAN, per_shard: int = 3) -> Path:
    with StoreWriter(folder, {"corpus": folder.name}) as writer:
        plan = []
        for first in range(0, len(items), per_shard):
            path = writer.shard_path([folder.name, str(first)])
            write_shard(path, items[first : first + per_shard])
            plan.append(path)
        writer.finish(plan, {"name": folder.name, "label_set": labels.to_dict()})
    return folder


def item(number: int, label: object, part: str = "train", prefix: str = "u", **kept: bool) -> StoreItem:
    rng = np.random.default_rng(number)
    faces = rng.integers(0, 256, (1 + number % 3, 3, 48, 48), dtype=np.uint8) if kept.get("faces", True) else None
    mel_chunks = rng.normal(size=(2, 1, 128, 32)).astype(np.float16) if kept.get("mel_chunks", True) else None
    text = f"words {number}" if kept.get("text", True) else None
    utterance = Utterance(id=f"{prefix}{number}", speaker=f"s{number % 2}", text=text, label=label, part=part)  # type: ignore[arg-type]
    return StoreItem(utterance, faces, mel_chunks)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    labels = ["anger", "fear", "fear", "neutral", "anger"]
    return build(
        tmp_path / "s",
        [*(item(i, label) for i, label in enumerate(labels)), item(5, "disgust", "dev"), item(6, None, "dev")],
    )


def test_part_counts_and_speakers(store: Path):
    train = StoreDataset(store, "train")
    assert len(train) == 5
    assert class_counts(train) == {
        "anger": 2,
        "disgust": 0,
        "fear": 2,
        "happiness": 0,
        "sadness": 0,
        "surprise": 0,
        "neutral": 1,
    }
    assert train.speakers() == {"s0", "s1"}
    assert len(StoreDataset(store)) == 7
    assert [t is None for t in StoreDataset(store, "dev").targets()] == [False, True]
    assert [(n.frames, n.mel_chunks, n.text_chars) for n in train.lengths][:2] == [(1, 2, 7), (2, 2, 7)]


def test_clip_is_what_was_stored(store: Path):
    clip = StoreDataset(store, "train")[3]
    expected = item(3, "neutral")
    assert clip.id == "u3"
    assert clip.speaker == "s1"
    assert clip.text == "words 3"
    assert clip.target is not None
    assert EKMAN.decode(clip.target) == "neutral"
    assert clip.faces is not None
    assert clip.mel_chunks is not None
    assert clip.faces.dtype == torch.uint8
    assert clip.mel_chunks.dtype == torch.float32
    np.testing.assert_array_equal(clip.faces.numpy(), expected.faces)
    np.testing.assert_array_equal(clip.mel_chunks.numpy(), expected.mel_chunks.astype(np.float32))  # type: ignore[union-attr]


def test_modalities_can_be_left_away(store: Path):
    clips = StoreDataset(store, "train", modalities=("text",))
    assert clips[0].modalities == ("text",)
    assert clips.lengths[0].frames == 0
    with pytest.raises(ConfigError, match="unknown modality 'audio'"):
        StoreDataset(store, modalities=("audio",))  # type: ignore[arg-type]


def test_items_without_what_is_asked_for_are_listed(tmp_path: Path):
    store = build(tmp_path / "s", [item(0, "fear"), item(1, "fear", faces=False), item(2, "fear", text=False)])
    faces = StoreDataset(store, "train", modalities=("faces",))
    assert faces.ids == ("u0", "u2")
    assert [(i.id, i.reason) for i in faces.left_out] == [("u1", "has none of faces")]


def test_multi_label_store_in_a_single_label_set(tmp_path: Path):
    labels = [("fear",), ("anger", "fear"), ()]
    store = build(tmp_path / "s", [item(i, label) for i, label in enumerate(labels)], MULTI)
    multi = StoreDataset(store, "train")
    assert multi.targets()[1].tolist() == [1, 0, 1, 0, 0, 0, 0]  # type: ignore[union-attr]
    assert class_counts(multi)["fear"] == 2
    single = StoreDataset(store, "train", EKMAN)
    assert single.ids == ("u0",)
    assert [i.reason for i in single.left_out] == ["2 labels where one is wanted", "0 labels where one is wanted"]


def test_unknown_label_and_part_are_errors(store: Path):
    with pytest.raises(ConfigError, match=r"label of u0 does not fit.*unknown label 'anger'"):
        StoreDataset(store, "train", LabelSet(("fear", "neutral")))
    with pytest.raises(StoreError, match=r"has nothing in part 'test'. Its parts: dev, train"):
        StoreDataset(store, "test")


def test_a_store_without_parts_says_how_they_are_chosen(tmp_path: Path) -> None:
    whole = build(tmp_path / "s", [item(i, "fear", None) for i in range(6)])  # type: ignore[arg-type]
    remedy = r"Its items are in no part; choose a split, such as split: {kind: random, by: speaker} in a recipe"
    with pytest.raises(StoreError, match=rf"has nothing in part 'train'\. {remedy}"):
        StoreDataset(whole, "train")


def test_joint_dataset(store: Path, tmp_path: Path):
    other = build(tmp_path / "other", [item(9, "sadness", prefix="o")])
    both = JointDataset([StoreDataset(store, "train"), StoreDataset(other)])
    assert len(both) == 6
    assert [both[i].id for i in range(6)] == list(both.ids) == ["u0", "u1", "u2", "u3", "u4", "o9"]
    assert both[-1].id == "o9"
    assert class_counts(both)["sadness"] == 1
    with pytest.raises(IndexError):
        both[6]
    with pytest.raises(ConfigError, match="the id 'u0' is in two"):
        JointDataset([StoreDataset(store, "train"), StoreDataset(store, "train")])
    with pytest.raises(ConfigError, match="different label sets"):
        JointDataset([StoreDataset(store, "train"), StoreDataset(other, label_set=MULTI)])


def test_loader_workers_read_the_store(store: Path):
    data = StoreDataset(store, "train")
    data[0]  # opens a shard before the workers are forked
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=Collator())
    batches = list(loader)
    assert [b.ids for b in batches] == [("u0", "u1"), ("u2", "u3"), ("u4",)]
    assert torch.equal(batches[1].faces[0], data[2].faces)
