"""MELD with its clips, as distributed: some are broken, missing, in two parts, or belong to no line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from label_counts import class_counts
from maeum.corpora import LeftOut, make_corpus
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Utterance

EXTRA = [
    ("dev_splits_complete/dia66_utt9.mp4", "a clip without a line in the table", "dev"),
    (
        "output_repeated_splits_test/final_videos_testdia101_utt0.mp4",
        "the name is not dia<number>_utt<number>.mp4",
        "test",
    ),
]


@pytest.fixture
def source(tmp_path: Path, make_meld: Callable[..., Path]) -> Path:
    return make_meld(tmp_path / "MELD.Raw")


def read(source: Path) -> tuple[dict[str, Utterance], list[tuple[str, str, str | None]]]:
    items = list(make_corpus("meld").items(source))
    used = {item.id: item for item in items if isinstance(item, Utterance)}
    left = [(item.id, item.reason, item.part) for item in items if isinstance(item, LeftOut)]
    assert len(used) + len(left) == len(items)
    return used, left


def test_every_line_with_its_clip(source: Path):
    used, left = read(source)
    assert left == EXTRA
    assert [
        (u.id, u.dialogue, u.text, u.speaker, u.label, u.other_labels, u.part, u.start_s, u.end_s)
        for u in used.values()
    ] == [
        ("meld-train-dia0-utt0", "meld-train-dia0", "Oh my God, he\u2019s lost it.", "meld-Phoebe", "sadness",
         {"sentiment": "negative"}, "train", 0.0, None),
        ("meld-train-dia0-utt1", "meld-train-dia0", "What?", "meld-Monica", "surprise",
         {"sentiment": "negative"}, "train", 0.0, None),
        ("meld-train-dia53-utt0", "meld-train-dia53", "Hi!", "meld-Joey", "happiness",
         {"sentiment": "positive"}, "train", 0.0, None),
        ("meld-train-dia125-utt3", "meld-train-dia125", "Oh, no-no-no, see, \u201c17\u201d minutes.",
         "meld-Ross", "neutral",
         {"sentiment": "neutral"}, "train", 0.0, None),
        ("meld-dev-dia52-utt2", "meld-dev-dia52", "Come on in.", "meld-Chandler", "neutral",
         {"sentiment": "neutral"}, "dev", 0.0, None),
        ("meld-dev-dia110-utt7", "meld-dev-dia110", "Did they tell you anything?", "meld-Phoebe", "neutral",
         {"sentiment": "neutral"}, "dev", pytest.approx(431.764), pytest.approx(433.89)),
        ("meld-test-dia0-utt0", "meld-test-dia0", "Why do all you\u2019re coffee mugs have numbers?", "meld-Mark",
         "surprise", {"sentiment": "positive"}, "test", 0.0, None),
        ("meld-test-dia0-utt1", "meld-test-dia0", "Oh. That\u2019s so Monica can keep track.", "meld-Rachel", "disgust",
         {"sentiment": "negative"}, "test", 0.0, None),
    ]  # fmt: skip
    clip = used["meld-test-dia0-utt1"].recording
    assert clip is not None
    assert clip.video == clip.audio == source / "output_repeated_splits_test/dia0_utt1.mp4"
    assert {id: u.notes for id, u in used.items() if u.notes} == {
        "meld-dev-dia110-utt7": ("no clip: dev_splits_complete/dia110_utt7.mp4 is missing",)
    }


def test_transcripts_alone_are_read_as_they_are(tmp_path: Path, make_meld: Callable[..., Path]):
    used, left = read(make_meld(tmp_path / "text", clips=False))
    assert left == []
    assert all(u.recording is None and u.notes == () for u in used.values())
    first, last = used["meld-train-dia0-utt0"], used["meld-test-dia0-utt1"]
    assert (first.start_s, first.end_s) == pytest.approx((1257.256, 1260.049))
    assert (last.start_s, last.end_s) == (0.0, None), "its times run backwards"
    report = prepare("meld", tmp_path / "text", tmp_path / "store")
    assert (report.modalities, report.shards, report.text_only) == (("text",), 1, {})
    assert Store(tmp_path / "store").manifest["faces"] == "none"


def test_tables_and_clips_in_a_folder_for_each_part(source: Path):
    expected = {id: (u.text, u.notes) for id, u in read(source)[0].items()}
    for part, place in (("train", "train_splits"), ("dev", "dev_splits_complete")):
        (source / part).mkdir()
        shutil.move(source / place, source / part / place)
        shutil.move(source / f"{part}_sent_emo.csv", source / part)
    used, left = read(source)
    assert {id: (u.text, u.notes) for id, u in used.items()} == expected
    assert left == EXTRA


def test_what_copies_lack_is_noted(source: Path):
    (source / "train_splits/dia0_utt0.mp4").write_bytes(b"")
    (source / "train_splits/dia0_utt1.mp4").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    shutil.rmtree(source / "output_repeated_splits_test")
    table = source / "test_sent_emo.csv"
    table.write_bytes(table.read_bytes().replace(b"Oh. That\x92s so Monica can keep track.", b""))
    used, left = read(source)
    assert {id: u.notes[0] for id, u in used.items() if u.notes} == {
        "meld-train-dia0-utt0": "no clip: train_splits/dia0_utt0.mp4 is empty",
        "meld-train-dia0-utt1": "no clip: train_splits/dia0_utt1.mp4 is a Git LFS pointer, not the file",
        "meld-dev-dia110-utt7": "no clip: dev_splits_complete/dia110_utt7.mp4 is missing",
        "meld-test-dia0-utt0": "no clip: output_repeated_splits_test/dia0_utt0.mp4 is missing",
    }
    assert ("meld-test-dia0-utt1", "neither text nor clip", "test") in left
    (source / "train_sent_emo.csv").unlink()
    assert [reason for id, reason, _ in read(source)[1] if id.startswith("train_splits/")] == [
        "a clip without a line in the table"
    ] * 4


def test_a_clip_of_more_than_its_line_is_not_used(
    source: Path, make_media: Callable[..., Path], make_sine: Callable[..., np.ndarray]
):
    """Some clips of the published test part last minutes, where the table says seconds."""
    clips = {
        "train_splits/dia0_utt0.mp4": 12.0,
        "train_splits/dia0_utt1.mp4": 10.0,
        "train_splits/dia53_utt0.mp4": 13.0,
        "output_repeated_splits_test/dia0_utt1.mp4": 20.0,
    }
    for name, length_s in clips.items():
        make_media(source / name, sound=make_sine(300, length_s, 16_000), audio_codec="aac", audio_format="fltp")
    used, _ = read(source)
    long = used["meld-train-dia53-utt0"]
    assert (long.recording, long.text) == (None, "Hi!")
    assert (long.start_s, long.end_s) == pytest.approx((1242.741, 1245.159))
    (note,) = long.notes
    assert note.startswith("no clip: train_splits/dia53_utt0.mp4 is 13.")
    assert note.endswith(" s long, its line 2.4 s")
    for id in ("meld-train-dia0-utt0", "meld-train-dia0-utt1", "meld-test-dia0-utt1"):
        assert used[id].recording is not None, "less than 10 s longer, or of a line whose times run backwards"
    report = prepare("meld", source, source.parent / "store")
    assert report.text_only["meld-train-dia53-utt0"] == note


def test_a_label_that_is_none_is_named(source: Path):
    table = source / "dev_sent_emo.csv"
    table.write_bytes(table.read_bytes().replace(b"neutral,neutral,52", b"neutral,good,52"))
    with pytest.raises(CorpusError, match="line 2: unknown sentiment 'good'"):
        read(source)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, make_meld: Callable[..., Path]) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("meld")
    settings = PrepareConfig(no_face="centre-crop")
    report = prepare("meld", make_meld(folder / "source"), folder / "store", settings)
    return folder / "store", report.lines()


def test_the_account_names_what_is_broken_and_keeps_its_words(prepared: tuple[Path, list[str]]):
    folder, lines = prepared
    store = Store(folder)
    account = store.manifest["account"]
    assert (account["items"], account["used"], account["left_out"]) == (10, 8, 2)
    # Broken: dia125_utt3; missing: dia110_utt7; in train and in dev: dia53_utt0.
    assert account["modalities"] == {"faces": 5, "speech": 5, "text": 8}
    notes = {row["id"]: " ".join(row["notes"]) for row in store.rows}
    assert "dia125_utt3.mp4" in notes["meld-train-dia125-utt3"]
    assert "is the same as that of meld-dev-dia52-utt2" in notes["meld-train-dia53-utt0"]
    words = next(line for line in lines if "3 items with words only" in line)
    assert all(id in words for id in ("meld-train-dia125-utt3", "meld-train-dia53-utt0", "meld-dev-dia110-utt7"))
    assert any("its own parts overlap: 1 speaker shared by" in line for line in lines)
    assert (
        "  sentiment, found / published: negative 3 / 4184, neutral 3 / 6436, positive 2 / 3088; in all 8 / 13708"
    ) in lines
    assert any(line.startswith("  emotion, found / published: anger 0 / 1607, disgust 1 / 361") for line in lines)


def test_pictures_and_sound_are_the_clips_own(prepared: tuple[Path, list[str]]):
    store = Store(prepared[0])
    rows = {row["id"]: number for number, row in enumerate(store.rows)}
    # Its number in its part is in a clip's brightness, length and pitch.
    peaks = []
    for id, number in {"meld-train-dia0-utt0": 0, "meld-train-dia0-utt1": 1, "meld-dev-dia52-utt2": 2}.items():
        faces, mel_chunks = store.array(rows[id], "faces"), store.array(rows[id], "mel_chunks")
        assert faces is not None
        assert mel_chunks is not None
        assert len(faces) == 2 + number
        np.testing.assert_allclose(faces.mean(), 60 + 20 * number, atol=4)
        peaks.append(int(mel_chunks[1, 0].astype(np.float32).mean(1).argmax()))
    assert peaks == sorted(set(peaks))


def test_sentiment_or_emotion_is_chosen_by_the_target(prepared: tuple[Path, list[str]]):
    folder = prepared[0]
    sentiment = StoreDataset(folder, labelled=True, target="sentiment")
    assert class_counts(sentiment) == {"negative": 3, "neutral": 3, "positive": 2}
    emotion = StoreDataset(folder, "test", labelled=True, target="emotion")
    assert {name for name, count in class_counts(emotion).items() if count} == {"surprise", "disgust"}
    upset = {"labels": ["bad", "other"], "of": "sentiment", "merge": {"negative": "bad", "neutral": "other"}}
    store = Store(folder)
    own = StoreDataset(store, labelled=True, target=type(store.target("emotion")).parse(upset))
    assert class_counts(own) == {"bad": 3, "other": 3}
    assert {item.reason for item in own.left_out} == {"positive is not part of the target"}
    with pytest.raises(ConfigError, match=r"no labels of the kind 'mood'\. Its other kinds: sentiment"):
        StoreDataset(store, target=type(store.target("emotion")).parse({**upset, "of": "mood"}))
    assert store.rows[0]["other_labels"] == {"sentiment": "negative"}
