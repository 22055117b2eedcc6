"""A user's own folder and table."""

from __future__ import annotations

from pathlib import Path

import pytest

from maeum.corpora import LeftOut, make_corpus
from maeum.errors import CorpusError
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
        ("path,part\na.mp4,valid\n", "part 'valid' is none of train, dev, test"),
        ("path,text\na.mp4,1\na.mp4,2\n", "the id 'a.mp4' is used twice"),
        ("path\n", "has a header but no rows"),
        ("", "has no column 'path'"),
    ],
)
def test_bad_tables(tmp_path: Path, table: str, problem: str):
    with pytest.raises(CorpusError, match=problem):
        list(make_corpus("folder").items(write(tmp_path, table, "a.mp4")))


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
