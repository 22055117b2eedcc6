"""The forms in which corpora are distributed."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maeum.corpora import LeftOut, make_corpus
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Utterance


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_ravdess_names(tmp_path: Path):
    touch(
        tmp_path, "Actor_02/03-01-05-02-01-01-02.wav", "Actor_17/03-01-02-01-02-01-17.flac", "03-01-08-01-01-01-24.wav"
    )
    touch(tmp_path, "01-01-05-02-01-01-02.mp4", "03-02-05-02-01-01-02.wav", "03-01-09-02-01-01-02.wav")
    used = {u.id: u for u in make_corpus("ravdess").utterances(tmp_path)}
    assert {i: (u.label, u.speaker, u.part, u.text) for i, u in used.items()} == {
        "03-01-05-02-01-01-02": ("anger", "ravdess-02", "train", None),
        "03-01-02-01-02-01-17": ("neutral", "ravdess-17", "dev", None),
        "03-01-08-01-01-01-24": ("surprise", "ravdess-24", "test", None),
    }
    left = [item.reason for item in make_corpus("ravdess").items(tmp_path) if isinstance(item, LeftOut)]
    assert sorted(r.split(";")[0] for r in left) == [
        "a song, not speech", "a video", "the name does not follow the scheme of RAVDESS",
    ]  # fmt: skip


def test_ravdess_sentences_are_text_only_on_request(tmp_path: Path):
    touch(tmp_path, "03-01-05-02-02-01-02.wav")
    (utterance,) = make_corpus("ravdess", {"transcripts": True}).utterances(tmp_path)
    assert utterance.text == "Dogs are sitting by the door"


def test_options_are_checked(tmp_path: Path):
    with pytest.raises(ConfigError, match="did you mean transcripts"):
        make_corpus("ravdess", {"transcript": True})
    touch(tmp_path, "03-01-05-02-02-01-02.wav")
    with pytest.raises(ConfigError, match=r"actors \[1\] are in dev and in test"):
        list(make_corpus("ravdess", {"dev_actors": [1]}).items(tmp_path))


def test_emodb_names(tmp_path: Path):
    touch(tmp_path, "03a01Wa.wav", "13b10Fa.wav", "16a07Td.wav", "08a01Lc.wav", "08a99Lc.wav")
    items = list(make_corpus("emodb").items(tmp_path))
    assert {(i.id, i.label, i.part) for i in items if isinstance(i, Utterance)} == {
        ("03a01Wa", "anger", "train"), ("13b10Fa", "happiness", "dev"), ("16a07Td", "sadness", "test"),
    }  # fmt: skip
    assert {(i.id, i.reason) for i in items if isinstance(i, LeftOut)} == {
        ("08a01Lc", "boredom is outside the label set"),
        ("08a99Lc.wav", "the name does not follow the scheme of EmoDB"),
    }


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("emodb", "03a01Wa.wav", "Der Lappen liegt auf dem Eisschrank."),
        ("ravdess", "03-01-05-01-02-01-02.wav", "Dogs are sitting by the door"),
        ("crema-d", "AudioWAV/1001_IEO_HAP_LO.wav", "It's eleven o'clock"),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_sentences_reach_the_store_where_they_are_asked_for(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any], name: str, file: str, words: str,
    asked: bool,
):  # fmt: skip
    source = tmp_path / "source"
    (source / file).parent.mkdir(parents=True)
    make_media(source / file, sound=make_sine(300, 1.0, 16_000))
    prepare(name, source, tmp_path / "store", PrepareConfig(options={"transcripts": asked}))
    store = Store(tmp_path / "store")
    assert ("text" in store.manifest["modalities"]) is asked
    (row,) = store.rows
    assert row["text"] == (words if asked else None)
    assert row["mel_chunks_count"] == 3


def test_emodb_dev_and_test_hold_a_man_and_a_woman():
    women = {8, 9, 13, 14, 16}
    options = make_corpus("emodb").options.model_dump()
    for part in ("dev_speakers", "test_speakers"):
        assert {speaker in women for speaker in options[part]} == {True, False}


@pytest.mark.parametrize("packed", [True, False])
def test_fer2013_as_zip_and_as_folder(tmp_path: Path, packed: bool):
    names = ("train/happy/a.jpg", "train/angry/b.jpg", "dev/sad/c.jpg", "train/contempt/d.jpg", "stray.jpg")
    if packed:
        source = tmp_path / "fer2013.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    else:
        source = tmp_path
        touch(tmp_path, *names)
    items = list(make_corpus("fer2013").items(source))
    used = {(u.id, u.label, u.part) for u in items if isinstance(u, Utterance)}
    assert used == {("train/happy/a", "happiness", "train"), ("train/angry/b", "anger", "train"),
                    ("dev/sad/c", "sadness", "dev")}  # fmt: skip
    assert [i.id for i in items if isinstance(i, LeftOut)] == ["stray.jpg", "train/contempt/d.jpg"]


def test_fer2013_that_is_no_zip(tmp_path: Path):
    (tmp_path / "fer2013.zip").write_text("not a zip")
    with pytest.raises(CorpusError, match="not a readable zip"):
        list(make_corpus("fer2013").items(tmp_path / "fer2013.zip"))


GO = 'He said\t"no\t4\tid1\nSo "sad\t5\tid2\nBoth\t0,2\tid3\n  \t3\tid4\n\n'


@pytest.fixture
def goemotions(tmp_path: Path) -> Path:
    (tmp_path / "labels.txt").write_text("anger\ndisgust\nfear\njoy\nneutral\nsadness\nsurprise\n")
    (tmp_path / "train.tsv").write_text(GO)
    return tmp_path


def test_goemotions_text_may_hold_tabs_and_quotes(goemotions: Path):
    items = list(make_corpus("goemotions").items(goemotions))
    used = [(u.text, u.label, u.part) for u in items if isinstance(u, Utterance)]
    assert used == [('He said\t"no', "neutral", "train"), ('So "sad', "sadness", "train")]
    assert [i.reason for i in items if isinstance(i, LeftOut)] == [
        "several labels (anger, fear) where one is asked for", "no text",
    ]  # fmt: skip


def test_goemotions_keeps_several_labels_for_a_multi_label_set(goemotions: Path):
    corpus = make_corpus("goemotions", {"labels": "multi"})
    assert corpus.label_set.task == "multi-label"
    labels = [u.label for u in corpus.utterances(goemotions)]
    assert labels == [("neutral",), ("sadness",), ("anger", "fear")]
    assert corpus.label_set.encode(labels[2]).tolist() == [1, 0, 1, 0, 0, 0, 0]


def test_goemotions_fine_labels_are_grouped(tmp_path: Path):
    (tmp_path / "emotions.txt").write_text("remorse\ncuriosity\nlove\nnervousness\nneutral\n")
    (tmp_path / "dev.tsv").write_text("a\t0\tx\nb\t1\ty\nc\t2\tz\nd\t3\tw\n")
    labels = [u.label for u in make_corpus("goemotions").utterances(tmp_path)]
    assert labels == ["sadness", "surprise", "happiness", "fear"]


def test_goemotions_names_the_bad_line(goemotions: Path):
    (goemotions / "dev.tsv").write_text("fine\t1\ta\nno tabs here\n")
    with pytest.raises(CorpusError, match=r"dev\.tsv: line 2 is not text"):
        list(make_corpus("goemotions").items(goemotions))
    (goemotions / "dev.tsv").write_text("fine\t9\ta\n")
    with pytest.raises(CorpusError, match=r"dev\.tsv, line 1: label ids '9'"):
        list(make_corpus("goemotions").items(goemotions))


MELD = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
    '1,"Oh my God, he\x92s lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:21:00,049"\n'
    '2,What?,Monica,joy,positive,0,1,4,7,"00:21:03,261","00:21:01,927"\n'
)


def test_meld_rows(tmp_path: Path):
    (tmp_path / "dev_sent_emo.csv").write_bytes(MELD.encode())
    first, second = make_corpus("meld").utterances(tmp_path)
    assert (first.text, first.label, first.speaker, first.dialogue) == (
        "Oh my God, he\u2019s lost it.", "sadness", "meld-Phoebe", "meld-dev-dia0",
    )  # fmt: skip
    assert (first.start_s, first.end_s) == pytest.approx((1257.256, 1260.049))
    # Its times run backwards, so none are given.
    assert (second.label, second.start_s, second.end_s) == ("happiness", 0.0, None)


def test_meld_unknown_emotion_names_the_line(tmp_path: Path):
    (tmp_path / "dev_sent_emo.csv").write_text(MELD.replace("joy", "bliss"), encoding="utf-8")
    with pytest.raises(CorpusError, match="line 3: unknown emotion 'bliss'"):
        list(make_corpus("meld").items(tmp_path))


def test_real_corpora_have_the_published_counts(shared_data: Path):
    expected = {
        "ravdess": (shared_data / "ravdess", {"train": 900, "dev": 240}, {}),
        "emodb": (shared_data / "emodb", {"train": 269, "dev": 81}, {"boredom is outside the label set": 58}),
        "fer2013": (shared_data / "fer2013.zip", {"train": 28709, "dev": 3589}, {}),
        "meld": (shared_data / "text/meld", {"train": 9989, "dev": 1109}, {}),
    }
    for name, (source, parts, reasons) in expected.items():
        items = list(make_corpus(name).items(source))
        assert Counter(i.part for i in items if isinstance(i, Utterance)) == parts, name
        assert Counter(i.reason for i in items if isinstance(i, LeftOut)) == reasons, name
    go = Counter(item.part for item in make_corpus("goemotions").items(shared_data / "text/goemotions"))
    assert go == {"train": 43410, "dev": 5426}
