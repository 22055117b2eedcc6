"""A user's own folder and table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_counts import class_counts
from maeum.corpora import LeftOut, make_corpus
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Utterance


def write(folder: Path, table: str, *files: str) -> Path:
    for name in files:
        (folder / name).write_bytes(b"media")
    (folder / "items.csv").write_text(table, encoding="utf-8")
    return folder


def test_everything_but_path_is_optional(tmp_path: Path):
    (utterance,) = make_corpus("folder").items(write(tmp_path, "path\na.mp4\n", "a.mp4"))
    assert isinstance(utterance, Utterance)
    assert utterance == Utterance(id="a.mp4", recording=utterance.recording)
    assert utterance.recording is not None
    assert utterance.recording.video == utterance.recording.audio == tmp_path / "a.mp4"


def test_all_columns(tmp_path: Path):
    table = (
        "path,start_s,end_s,text,label,speaker,dialogue,part\na.mp4,1.5,2,Hi,Joy,Ann,d1,dev\na.mp4,2,,x,,Al,d1,dev\n"
    )
    first, second = make_corpus("folder").utterances(write(tmp_path, table, "a.mp4"))
    assert (first.id, first.label, first.part, first.start_s, first.end_s) == (
        "a.mp4@1.5-2",
        "happiness",
        "dev",
        1.5,
        2.0,
    )
    assert (second.id, second.label, second.end_s) == ("a.mp4@2-", None, None)


def test_missing_file_is_left_out_with_its_reason(tmp_path: Path):
    items = list(make_corpus("folder").items(write(tmp_path, "path,text,speaker\ngone.mp4,,\n,just words,\n,,Ann\n")))
    assert [(i.id, i.reason.split(":")[0]) for i in items if isinstance(i, LeftOut)] == [
        ("gone.mp4", "no such file"), ("line4", "neither a path nor text"),
    ]  # fmt: skip
    assert [(i.id, i.text) for i in items if isinstance(i, Utterance)] == [("line3", "just words")]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("path,start_s,end_s\na.mp4,9.1,8.24\n", "line 2: end_s 8.24 is not after start_s 9.1"),
        ("path,start_s\na.mp4,-1\n", "line 2: start_s -1.0 is negative"),
        ("path,start_s\na.mp4,soon\n", "start_s 'soon' is not a number"),
        ("path,start_s\na.mp4,nan\n", "start_s 'nan' is not a number"),
        ("path,label\na.mp4,bliss\n", "unknown label 'bliss'; the labels are anger"),
        ("path,label\na.mp4,fear|anger\n", "has several labels"),
        ("path,part\na.mp4,tset\n", r"part 'tset' is none of train, dev, test\. Write train, dev \(for validation"),
        ('path,text\n\na.mp4,"1\n1"\na.mp4,2\n', r"'a.mp4' is used twice \(lines 4 and 5\). Remove one of the two"),
        ("path\n", r"has a header but no rows\. Add a row"),
        ("", r"has no column 'path', only nothing\. Name a column 'path'"),
        ("filename,label\na.mp4,fear\n", r"has no column 'path', only filename, label\. Rename 'filename' to 'path'"),
        ("path,Emotion\na.mp4,fear\n", r"has no column 'label', only path, emotion\. Rename 'emotion' to 'label'"),
        ("path,lable\na.mp4,fear\n", r"has no column 'label', only path, lable\. Rename 'lable' to 'label'"),
    ],
)
def test_bad_tables(tmp_path: Path, table: str, problem: str):
    with pytest.raises(CorpusError, match=problem):
        list(make_corpus("folder").items(write(tmp_path, table, "a.mp4")))


def test_columns_that_are_not_read_though_they_seem_to_be_meant(tmp_path: Path):
    corpus = make_corpus("folder")
    source = write(tmp_path, "path,label,spk,transcript,mood,split\na.mp4,fear,s1,Hi,dark,train\n", "a.mp4")
    assert corpus.remarks(source) == [
        f"the column {theirs!r} is not read; if it holds what the column {ours!r} is for, rename it"
        for ours, theirs in (("text", "transcript"), ("speaker", "spk"), ("part", "split"))
    ]
    assert corpus.remarks(write(tmp_path, "path,label,emotion,mood\na.mp4,fear,fear,dark\n")) == []


def test_numbers_may_stand_in_for_labels(tmp_path: Path):
    source = write(tmp_path, "path,valense\na.mp4,2\n", "a.mp4")
    options = {"labels": ["valence"], "task": "dimensional", "ranges": [[1, 5]]}
    with pytest.raises(CorpusError, match="Rename 'valense' to 'valence'"):
        list(make_corpus("folder", options).items(source))
    write(tmp_path, "path,valence,emotion\na.mp4,2,fear\n")
    assert make_corpus("folder", options).remarks(source) == []
    assert len(list(make_corpus("folder", options).items(source))) == 1


def test_own_labels_and_several_of_them(tmp_path: Path):
    corpus = make_corpus("folder", {"labels": ["calm", "tense"], "task": "multi-label"})
    source = write(tmp_path, "path,label\na.mp4,calm|tense\nb.mp4,\n", "a.mp4", "b.mp4")
    assert [u.label for u in corpus.utterances(source)] == [("calm", "tense"), ()]


def test_dimensional_labels_are_columns(tmp_path: Path):
    corpus = make_corpus("folder", {"labels": ["valence"], "task": "dimensional", "ranges": [[1, 5]]})
    source = write(tmp_path, "path,valence\na.mp4,2.5\nb.mp4,\n", "a.mp4", "b.mp4")
    assert [u.label for u in corpus.utterances(source)] == [{"valence": 2.5}, None]


def test_a_row_may_have_values_of_some_scales(tmp_path: Path):
    options = {"labels": ["valence", "Arousal"], "task": "dimensional", "ranges": [[1, 5], [-1, 1]]}
    source = write(tmp_path, "path,valence,arousal\na.mp4,2.5,\nb.mp4,,-1\n", "a.mp4", "b.mp4")
    assert [u.label for u in make_corpus("folder", options).utterances(source)] == [{"valence": 2.5}, {"Arousal": -1.0}]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("path,valence\na.mp4,5.5\n", r"line 2: valence = 5.5 is outside 1..5"),
        ("path,valence\na.mp4,high\n", "valence 'high' is not a number"),
        ("path,valense\na.mp4,2\n", "has no column 'valence'"),
    ],
)
def test_bad_values(tmp_path: Path, table: str, problem: str):
    corpus = make_corpus("folder", {"labels": ["valence"], "task": "dimensional", "ranges": [[1, 5]]})
    with pytest.raises(CorpusError, match=problem):
        list(corpus.items(write(tmp_path, table, "a.mp4")))


def test_parts_by_speaker(tmp_path: Path):
    rows = "".join(f"{i}.wav,s{i}\n" for i in range(9))
    source = write(tmp_path, f"path,speaker\n{rows}", *(f"{i}.wav" for i in range(9)))
    parts = [u.part for u in make_corpus("folder", {"parts": "by-speaker"}).utterances(source)]
    assert set(parts) == {"train", "dev", "test"}


def test_which_table(tmp_path: Path):
    write(tmp_path, "path\na.mp4\n", "a.mp4")
    (tmp_path / "other.csv").write_text("path\na.mp4\n")
    with pytest.raises(CorpusError, match=r"needs one .csv or .tsv, found items.csv, other.csv"):
        list(make_corpus("folder").items(tmp_path))
    assert len(list(make_corpus("folder", {"table": "other.csv"}).items(tmp_path))) == 1
    assert len(list(make_corpus("folder").items(tmp_path / "other.csv"))) == 1


MSP = (
    "path,start_s,end_s,text,label,speaker,dialogue,part,EmoVal,EmoAct,channel,side\n"
    "talk.mkv,0,1.5,Hello.,happy,ann,talk,train,5.25,4,0,left\n"
    "talk.mkv,0,1.5,Hi there.,sad,ben,talk,train,2.0,,1,Right\n"
    "talk.mkv,1.5,2.5,Both of us.,,,talk,train,,,,\n"
    "other.mkv,,,Who knows?,,cem,other,dev,7,1,,\n"
)
SCALES = {"scales": {"EmoVal": [1, 7], "EmoAct": [1, 7]}}


def test_numbers_beside_the_label_and_who_of_several_is_meant(tmp_path: Path):
    used = list(make_corpus("folder", SCALES).utterances(write(tmp_path, MSP, "talk.mkv", "other.mkv")))
    assert [(u.id, u.label, u.speaker, u.scales) for u in used] == [
        ("talk.mkv@0-1.5#left0", "happiness", "ann", {"EmoVal": 5.25, "EmoAct": 4.0}),
        ("talk.mkv@0-1.5#right1", "sadness", "ben", {"EmoVal": 2.0}),
        ("talk.mkv@1.5-2.5", None, None, None),
        ("other.mkv", None, "cem", {"EmoVal": 7.0, "EmoAct": 1.0}),
    ]
    assert [(u.recording.crop, u.recording.channel) for u in used if u.recording is not None] == [
        ((0.0, 0.0, 0.5, 1.0), 0),
        ((0.5, 0.0, 1.0, 1.0), 1),
        (None, None),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("1,Right", "1,middle", "line 3: side 'middle' is none of left, right"),
        ("0,left", "-1,left", "line 2: channel '-1' is no number of a channel"),
        ("5.25,4", "8,4", r"line 2: EmoVal = 8 is outside 1\.\.7"),
        ("5.25,4", "high,4", "line 2: EmoVal 'high' is not a number"),
        ("EmoVal,EmoAct", "EmoVal,Arousal", "has no column 'EmoAct'"),
    ],
)
def test_sides_channels_and_numbers_that_cannot_be(tmp_path: Path, old: str, new: str, problem: str):
    assert old in MSP
    with pytest.raises(CorpusError, match=problem):
        list(make_corpus("folder", SCALES).items(write(tmp_path, MSP.replace(old, new), "talk.mkv", "other.mkv")))


def test_table_csv_comes_before_other_tables(tmp_path: Path):
    write(tmp_path, "path\nb.mp4\n", "a.mp4", "b.mp4")
    (tmp_path / "table.csv").write_text("path\na.mp4\n")
    (tmp_path / "._table.csv").write_bytes(b"\0\5\x16\7")
    assert [u.id for u in make_corpus("folder").utterances(tmp_path)] == ["a.mp4"]


def test_settings_of_earlier_stores_are_the_same():
    assert "scales" not in make_corpus("folder").options.model_dump()
    assert make_corpus("folder", SCALES).options.model_dump()["scales"]["EmoVal"] == (1.0, 7.0)


def test_one_recording_of_two_people_is_cut_in_two(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]
):
    """Left is red and 300 Hz, right is blue and 2000 Hz."""
    pixels = np.zeros((96, 192, 3), np.uint8)
    pixels[:, :96, 0] = pixels[:, 96:, 2] = 200
    sound = np.stack([make_sine(300, 2.5, 16_000), make_sine(2000, 2.5, 16_000)])
    (tmp_path / "source").mkdir()
    for name in ("talk", "other"):
        sound *= 0.9
        make_media(tmp_path / f"source/{name}.mkv", [pixels] * 25, sound=sound, layout="stereo")
    (tmp_path / "source/table.csv").write_text(MSP)
    settings = PrepareConfig(options=SCALES, no_face="centre-crop")
    report = prepare("folder", tmp_path / "source", tmp_path / "store", settings)
    assert (report.account["used"], report.account["left_out"]) == (4, 0)
    store = Store(tmp_path / "store")
    found = []
    for number in range(2):
        faces, mel_chunks = store.array(number, "faces"), store.array(number, "mel_chunks")
        assert faces is not None
        assert mel_chunks is not None
        found.append((faces.mean((0, 2, 3)).tolist(), int(mel_chunks[1, 0].astype(np.float32).mean(1).argmax())))
    (left, low), (right, high) = found
    assert left == pytest.approx([200, 0, 0], abs=2)
    assert right == pytest.approx([0, 0, 200], abs=2)
    assert low < high
    clips = StoreDataset(store, labelled=True, target="scales")
    assert clips.ids == ("talk.mkv@0-1.5#left0", "talk.mkv@0-1.5#right1", "other.mkv")
    first = clips.targets()[0]
    assert first is not None
    assert first.tolist() == [5.25, 4.0]
    assert class_counts(StoreDataset(store, labelled=True))["happiness"] == 1


@pytest.mark.parametrize("label", ["a|b", "a\nb", "\x1b[31m", " a", "", "a\u202eb"])
def test_a_label_that_breaks_a_table_is_refused(label: str):
    with pytest.raises(ConfigError, match=r"labels: .* cannot be a label in a table"):
        make_corpus("folder", {"labels": ["calm", label]})


def test_labels_that_are_read_as_others_are_told(tmp_path: Path) -> None:
    table = "path,label\na.mp4,joy\nb.mp4,Calm\nc.mp4,Happiness\nd.mp4,Joy\n"
    source = write(tmp_path, table, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    assert make_corpus("folder").remarks(source) == ["joy is read as happiness (2), calm as neutral (1)"]
    own = {"labels": ["joy", "Calm", "Happiness"]}
    (source / "items.csv").write_text(table.replace("Joy", "joy"))
    assert make_corpus("folder", own).remarks(source) == []
    assert [u.label for u in make_corpus("folder", own).utterances(source)] == ["joy", "Calm", "Happiness", "joy"]


@pytest.mark.parametrize("part", ["validation", "Valid", "val", "dev"])
def test_other_names_of_dev_are_understood(tmp_path: Path, part: str) -> None:
    (utterance,) = make_corpus("folder").utterances(write(tmp_path, f"path,part\na.mp4,{part}\n", "a.mp4"))
    assert utterance.part == "dev"
