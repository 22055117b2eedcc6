"""Defects of the published code that concern how corpora become data: times, words, and what cannot be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from maeum.data.store import Store
from maeum.preparation.prepare import PrepareConfig, PrepareReport, prepare

MEL_CHUNK_S = 0.4
CENTRES = PrepareConfig(no_face="centre-crop")


def test_mesm_07_frames_of_a_prepared_utterance_are_half_a_second_apart(
    tmp_path: Path, make_mosei: Callable[..., Path]
) -> None:
    """Published: frames of CMU-MOSEI, one per 0.5 s, were thinned out again, to one per 7.5 s."""
    prepare("mosei", make_mosei(tmp_path / "source"), tmp_path / "store", CENTRES)
    store = Store(tmp_path / "store")
    compared = 0
    for number, row in enumerate(store.rows):
        faces = store.array(number, "faces")
        assert faces is not None
        length_s = min(row["end_s"], 6.0 if row["recording"] == "100178" else np.inf) - max(row["start_s"], 0.0)
        assert len(faces) == int(np.ceil(length_s / 0.5)), row["id"]
        steps = np.diff(faces.astype(float).mean((1, 2, 3))) / 20  # the videos get brighter by 20 levels a second
        assert steps == pytest.approx(0.5, abs=0.2), row["id"]
        compared += len(steps)
    assert compared > 10


@pytest.fixture
def films(
    tmp_path: Path,
    make_media: Callable[..., Path],
    make_grey_frames: Callable[..., Sequence[NDArray[np.uint8]]],
    make_sine: Callable[..., NDArray[np.float32]],
) -> Path:
    """Three recordings, one a part; the first is cut short, the second is none at all."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("cut", "whole"):
        make_media(source / f"{name}.mp4", make_grey_frames([90] * 10, 64, 64), codec="mpeg4", pix_fmt="yuv420p",
                   sound=make_sine(300, 1.0, 16_000), audio_codec="aac", audio_format="fltp")  # fmt: skip
    (source / "cut.mp4").write_bytes((source / "cut.mp4").read_bytes()[:900])
    (source / "page.mp4").write_text("<!doctype html><p>Your download is ready.</p>")
    rows = ("cut.mp4,anger,train", "page.mp4,fear,dev", "whole.mp4,fear,test")
    (source / "t.csv").write_text("path,label,part\n" + "\n".join(rows) + "\n")
    return source


def test_mesm_08_a_recording_that_cannot_be_read_is_in_the_account_with_its_reason(films: Path) -> None:
    """Published: a bare ``except`` went on without what could not be read, and without its reason."""
    report = prepare("folder", films, films.parent / "store", CENTRES)
    assert report.account["items"] == 3
    assert (report.account["used"], report.account["left_out"]) == (1, 2)
    reasons = {item.id: (item.part, item.reason) for item in report.left_out}
    assert reasons["cut.mp4"][0] == "train"
    assert "cut.mp4: is an MP4/MOV file without its index (moov)" in reasons["cut.mp4"][1]
    assert reasons["page.mp4"][0] == "dev"
    assert "page.mp4: is text, not a recording" in reasons["page.mp4"][1]


#: Functions on the way from a corpus to its store, and the errors of programming that each is made to raise.
STATIONS = (
    ("maeum.corpora.folder.read_table", KeyError),
    ("maeum.inputs.utterances.probe", KeyError),
    ("maeum.media.video._Decoder._timed", IndexError),
    ("maeum.inputs.utterances.FaceDetector", ValueError),
    ("maeum.inputs.utterances.centre_crop", TypeError),
    ("maeum.media.audio._Reader._mono", AttributeError),
    ("maeum.inputs.utterances.read_audio", ZeroDivisionError),
    ("maeum.inputs.clip.to_mel_chunks", RuntimeError),
)


@pytest.mark.parametrize(("station", "error"), STATIONS, ids=[name for name, _ in STATIONS])
def test_mesm_08_an_error_of_the_program_is_never_taken_for_a_broken_recording(
    films: Path, monkeypatch: pytest.MonkeyPatch, station: str, error: type[Exception]
) -> None:
    """Published: a bare ``except`` hid every error. Only what is known to be wrong with a file may be passed over."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise error("a mistake in the program")

    monkeypatch.setattr(station, fail)
    with pytest.raises(error, match="a mistake in the program"):
        prepare("folder", films, films.parent / "store", CENTRES)


@pytest.fixture
def iemocap(tmp_path: Path, make_iemocap: Callable[..., Path], make_turn: Callable[..., Any]) -> PrepareReport:
    """A prepared dialogue whose transcript has colons, marks of laughter, and a turn of 20 s."""
    said = (
        "It is 10:30: go.",
        "Well [LAUGHTER], {LG} he said: <BREATHING> no. ++GARBAGE++",
        "[LAUGHTER]",
        "Long [as] it may be.",
    )
    times = ((1.0, 2.5), (3.0, 5.0), (5.5, 6.5), (7.0, 27.0))
    turns = [
        make_turn(f"F{n:03d}", *when, words=words) for n, (when, words) in enumerate(zip(times, said, strict=True))
    ]
    source = make_iemocap(tmp_path / "source", {f"Ses0{s}F_impro01": turns[:4] for s in (1, 4, 5)})
    return prepare("iemocap", source, tmp_path / "store", CENTRES)


def rows_of(report: PrepareReport) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in Store(report.store).rows if row["part"] == "train"}


def test_mesm_09_words_before_a_colon_reach_the_store(iemocap: PrepareReport) -> None:
    """Published: transcripts were split at ':' and only the last part was kept."""
    assert rows_of(iemocap)["Ses01F_impro01_F000"]["text"] == "It is 10:30: go."


def test_mmer_08_marks_of_laughter_are_no_words(iemocap: PrepareReport) -> None:
    """Published: ``{LG}`` became the letters L and G that the speaker was held to have said."""
    rows = rows_of(iemocap)
    assert rows["Ses01F_impro01_F001"]["text"] == "Well, he said: no."
    assert rows["Ses01F_impro01_F002"]["text"] is None, "nobody said a word"
    marks = "marks in the transcript that are no words: "
    assert [[note for note in row["notes"] if note.startswith(marks)] for row in rows.values()] == [
        [], [f"{marks}[LAUGHTER] {{LG}} <BREATHING> ++GARBAGE++"], [f"{marks}[LAUGHTER]"], [],
    ]  # fmt: skip
    letters = {word for row in rows.values() for word in re.findall(r"\w+", row["text"] or "")}
    assert not letters & {"LG", "LAUGHTER", "BREATHING", "GARBAGE"}


def test_mmer_08_sound_and_words_of_a_turn_are_cut_alike(iemocap: PrepareReport) -> None:
    """Published: sound ended after 13.1 s, the words that it was held against did not."""
    store = Store(iemocap.store)
    for number, row in enumerate(store.rows):
        mel_chunks = store.array(number, "mel_chunks")
        assert mel_chunks is not None
        whole = (row["end_s"] - row["start_s"]) / MEL_CHUNK_S
        assert whole <= len(mel_chunks) <= whole + 1, row["id"]
    assert max(row["mel_chunks_count"] for row in store.rows) >= 50
    assert rows_of(iemocap)["Ses01F_impro01_F003"]["text"] == "Long [as] it may be."


def test_mesm_10_items_that_cannot_be_used_are_counted_in_every_part(films: Path) -> None:
    """Published: utterances without pictures were gone without a word, in test too."""
    (films / "t.csv").write_text("path,label,part\ncut.mp4,fear,test\npage.mp4,fear,test\nwhole.mp4,fear,test\n")
    report = prepare("folder", films, films.parent / "store", CENTRES)
    assert {item.id: item.part for item in report.left_out} == {"cut.mp4": "test", "page.mp4": "test"}
    assert report.account["parts"] == {"test": 1}
    assert "folder: 1 of 3 items used, 2 left out" in report.lines()
