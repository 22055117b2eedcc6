"""The collage of real parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maeum.corpora.splits import RandomSplit
from maeum.data.collage import WARNING, CollageConfig, make_collage
from maeum.data.shards import StoreItem
from maeum.data.store import Store
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError, CorpusError
from maeum.labels import EKMAN, EMOTIONS
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Utterance

FEW = CollageConfig(per_label={"train": 3, "dev": 2})


def source(
    folder: Path, modality: str, per_label: int = 2, shared_text: bool = False, one_speaker: bool = False
) -> Path:
    """A store with some items of each label in train and dev; the first pixel and mel value tell items apart."""
    items = []
    for part in ("train", "dev"):
        for label in EMOTIONS:
            for i in range(per_label):
                number = len(items)
                text = f"{label} {'same' if shared_text and i == 0 else part} {i}" if modality == "text" else None
                items.append(
                    StoreItem(
                        Utterance(
                            f"{part}-{label}-{i}",
                            text=text,
                            label=label,
                            part=part,
                            speaker="x" if one_speaker else f"{part}{i}",
                        ),
                        np.full((1, 3, 48, 48), number, np.uint8) if modality == "faces" else None,
                        np.full((1 + i, 1, 128, 32), number, np.float16) if modality == "speech" else None,
                        content=f"{modality}{number}",
                    )
                )
    with StoreWriter(folder, {"corpus": modality}) as writer:
        path = writer.shard_path([modality])
        write_shard(path, items)
        writer.finish(
            [path],
            {"name": modality, "label_set": EKMAN.to_dict(), "licence": f"L-{modality}", "citation": f"C-{modality}"},
        )
    return folder


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, list[Path]]:
    return {m: [source(tmp_path / m, m)] for m in ("faces", "speech", "text")}


def test_parts_carry_one_label_and_one_part(sources: dict[str, list[Path]], tmp_path: Path):
    manifest = make_collage(**sources, out=tmp_path / "c", config=FEW)
    store = Store(tmp_path / "c")
    assert manifest["account"]["labels"] == {
        "train": dict.fromkeys(sorted(EMOTIONS), 3),
        "dev": dict.fromkeys(sorted(EMOTIONS), 2),
    }
    for index, row in enumerate(store.rows):
        label = row["label"]
        provenance = row["provenance"]
        assert {p.split(":")[0] for p in provenance.values()} == {"faces", "speech", "text"}
        for origin in provenance.values():
            assert origin.split(":")[1].startswith(f"{row['part']}-{label}-")
        faces, mel_chunks = store.array(index, "faces"), store.array(index, "mel_chunks")
        assert faces is not None
        assert mel_chunks is not None
        assert 3 <= len(faces) <= 8
        assert row["text"].startswith(f"{label} {row['part']}")


def test_says_what_it_is(sources: dict[str, list[Path]], tmp_path: Path):
    manifest = make_collage(**sources, out=tmp_path / "c", config=FEW)
    assert "never results about people" in manifest["warning"]
    assert manifest["licence"] == "faces: L-faces; speech: L-speech; text: L-text"
    assert manifest["citation"] == "C-faces C-speech C-text"


def test_same_seed_same_collage_other_seed_another(sources: dict[str, list[Path]], tmp_path: Path):
    make_collage(**sources, out=tmp_path / "a", config=FEW)
    make_collage(**sources, out=tmp_path / "b", config=FEW)
    make_collage(**sources, out=tmp_path / "c", config=FEW.model_copy(update={"seed": 1}))
    a, b, c = (Store(tmp_path / n) for n in "abc")
    assert a.rows == b.rows
    assert [r["provenance"] for r in a.rows] != [r["provenance"] for r in c.rows]
    np.testing.assert_array_equal(a.array(4, "faces"), b.array(4, "faces"))


def test_everything_is_used_before_anything_twice(sources: dict[str, list[Path]], tmp_path: Path):
    make_collage(**sources, out=tmp_path / "c", config=CollageConfig(per_label={"train": 2}))
    faces = [r["provenance"]["face"] for r in Store(tmp_path / "c").rows]
    assert len(set(faces)) == len(faces) == 14


def test_a_dev_sentence_is_never_in_train(sources: dict[str, list[Path]], tmp_path: Path):
    shared = source(tmp_path / "shared", "text", shared_text=True)
    make_collage(sources["faces"], sources["speech"], [shared], tmp_path / "c", FEW)
    texts: dict[str, set[str]] = {"train": set(), "dev": set()}
    for row in Store(tmp_path / "c").rows:
        texts[row["part"]].add(row["text"])
    assert not texts["train"] & texts["dev"]
    assert any("same" in text for text in texts["dev"])


def test_shared_speakers_are_said(sources: dict[str, list[Path]], tmp_path: Path):
    same = source(tmp_path / "same", "speech", one_speaker=True)
    manifest = make_collage(sources["faces"], [same], sources["text"], tmp_path / "c", FEW)
    assert "1 speaker shared by" in manifest["notes"][1]
    assert make_collage(**sources, out=tmp_path / "d", config=FEW)["notes"] == [WARNING]


def test_a_split_of_a_collage_may_not_share_a_face(sources: dict[str, list[Path]], tmp_path: Path):
    """Two items that are made of one face are as little independent as two of one speaker."""
    make_collage(**sources, out=tmp_path / "c", config=CollageConfig(per_label={"train": 8}))
    members = Store(tmp_path / "c").members()
    split = RandomSplit(by="utterance", dev_share=0.3, test_share=0.0).split(members)
    assert "utterance" in {overlap.kind for overlap in split.overlaps(members)}


def test_a_missing_label_is_named(sources: dict[str, list[Path]], tmp_path: Path):
    with pytest.raises(CorpusError, match="no faces of anger in test"):
        make_collage(**sources, out=tmp_path / "c", config=CollageConfig(per_label={"test": 1}))


def test_prepared_from_a_folder_of_stores(sources: dict[str, list[Path]], tmp_path: Path):
    report = prepare("collage", tmp_path, tmp_path / "c", PrepareConfig(options={"per_label": {"dev": 2}}))
    assert report.account["parts"] == {"dev": 14}
    direct = make_collage(**sources, out=tmp_path / "direct", config=CollageConfig(per_label={"dev": 2}))
    assert direct["account"] == report.account
    assert Store(tmp_path / "c").rows == Store(tmp_path / "direct").rows
    with pytest.raises(ConfigError, match="did you mean per_label"):
        prepare("collage", tmp_path, tmp_path / "c", PrepareConfig(options={"per_labels": {}}))
    with pytest.raises(CorpusError, match="holds no prepared store with faces"):
        prepare("collage", tmp_path / "text", tmp_path / "d")
