"""RAVDESS with its videos and songs, in which each performance is there three times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maeum.corpora import LeftOut, make_corpus
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Utterance

SPOKEN = ["01-02-01-02-01-17", "01-05-02-01-01-02", "01-07-02-02-02-02", "01-08-01-01-02-24"]
SUNG = "02-04-01-02-01-02"
AGAIN = {"another file of this name is read": 4}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, make_ravdess: Callable[..., Path]) -> Path:
    return make_ravdess(tmp_path_factory.mktemp("ravdess") / "source")


def read(source: Path, **options: Any) -> tuple[list[Utterance], Counter[str]]:
    items = list(make_corpus("ravdess", options).items(source))
    assert len(items) == 5 * 3 + 4, "each file once"
    used = [item for item in items if isinstance(item, Utterance)]
    return used, Counter(item.reason for item in items if isinstance(item, LeftOut))


def test_the_setting_chooses_one_of_the_three(source: Path):
    for files, code, others in (
        ("audio-only", "03", {"a video; only the audio-only files are read": 10, **AGAIN}),
        ("audio-visual", "01", {"a sound file; only the audio-visual files are read": 9,
                                "a video; only the audio-visual files are read": 5}),
        ("video-only", "02", {"a sound file; only the video-only files are read": 9,
                              "a video; only the video-only files are read": 5}),
    ):  # fmt: skip
        used, left = read(source, files=files)
        assert [u.id for u in used] == [f"{code}-{codes}" for codes in SPOKEN]
        assert left == {**others, "a song, not speech": 1}
        assert [(u.label, u.speaker, u.part, u.text) for u in used] == [
            ("neutral", "ravdess-17", "dev", None),
            ("anger", "ravdess-02", "train", None),
            ("disgust", "ravdess-02", "train", None),
            ("surprise", "ravdess-24", "test", None),
        ]
        for u in used:
            assert u.recording is not None
            assert (u.recording.video is not None, u.recording.audio is not None) == (code != "03", code != "02")
    assert read(source)[0] == read(source, files="audio-only", voice="speech")[0]


def test_songs(source: Path):
    used, left = read(source, voice="song", files="audio-visual", transcripts=True)
    assert [(u.id, u.label, u.text) for u in used] == [(f"01-{SUNG}", "sadness", "Dogs are sitting by the door")]
    assert left["speech, not a song"] == 4
    assert len(read(source, voice="both")[0]) == 5
    counts = {voice: make_corpus("ravdess", {"voice": voice}).label_counts for voice in ("speech", "song", "both")}
    assert {voice: sum(count.values()) for voice, count in counts.items()} == {
        "speech": 1440,
        "song": 1012,
        "both": 2452,
    }
    assert counts["song"]["disgust"] == 0, "nobody sings in disgust"
    with pytest.raises(ConfigError, match="files"):
        make_corpus("ravdess", {"files": "all"})


def test_files_in_which_there_is_nothing(tmp_path: Path):
    (tmp_path / "03-01-05-02-02-01-02.wav").write_bytes(b"")
    (tmp_path / "03-09-05-02-02-01-02.wav").write_bytes(b"sound")
    assert [i.reason for i in make_corpus("ravdess").items(tmp_path) if isinstance(i, LeftOut)] == [
        "the file is empty",
        "the name does not follow the scheme of RAVDESS",
    ]


def test_stores_of_earlier_versions_stay_valid():
    settings = make_corpus("ravdess", {"files": "audio-only"}).options.model_dump(mode="json")
    assert settings.keys() == {"transcripts", "dev_actors", "test_actors"}
    assert make_corpus("ravdess", {"files": "video-only"}).options.model_dump()["files"] == "video-only"


def test_pictures_with_their_sound(source: Path, tmp_path: Path):
    options = {"files": "audio-visual", "voice": "both", "transcripts": True}
    settings = PrepareConfig(no_face="centre-crop", options=options)
    report = prepare("ravdess", source, tmp_path / "store", settings)
    account = report.account
    # The video of 24 is cut short, and keeps the sentence that was asked for.
    assert (account["items"], account["used"]) == (19, 5)
    assert account["modalities"] == {"faces": 4, "speech": 4, "text": 5}
    assert report.text_only.keys() == {"01-01-08-01-01-02-24"}
    assert "01-01-08-01-01-02-24.mp4" in report.text_only["01-01-08-01-01-02-24"]
    assert (
        "  emotion, found / published: anger 1 / 376, disgust 1 / 192, fear 0 / 376, happiness 0 / 376, "
        "sadness 1 / 376, surprise 1 / 192, neutral 1 / 564; in all 5 / 2452"
    ) in report.lines()
    store = Store(tmp_path / "store")
    rows = {row["id"]: number for number, row in enumerate(store.rows)}
    peaks = []
    for number, codes in enumerate(("01-05-02-01-01-02", "01-02-01-02-01-17")):
        faces, mel_chunks = store.array(rows[f"01-{codes}"], "faces"), store.array(rows[f"01-{codes}"], "mel_chunks")
        assert faces is not None
        assert mel_chunks is not None
        assert len(faces) == 2 + number
        np.testing.assert_allclose(faces.mean(), 60 + 20 * number, atol=4)
        peaks.append(int(mel_chunks[1, 0].astype(np.float32).mean(1).argmax()))
    assert peaks[0] < peaks[1]


def test_a_broken_file_is_left_out_with_its_name(source: Path, tmp_path: Path):
    settings = PrepareConfig(options={"files": "audio-visual"}, no_face="centre-crop")
    report = prepare("ravdess", source, tmp_path / "store", settings)
    (broken,) = (item for item in report.left_out if item.id == "01-01-08-01-01-02-24")
    assert "01-01-08-01-01-02-24.mp4" in broken.reason
    (tmp_path / "only").mkdir()
    (tmp_path / "only/01-01-08-01-01-02-24.mp4").write_bytes(b"video")
    with pytest.raises(CorpusError, match="first reason: a video; only the audio-only files are read"):
        prepare("ravdess", tmp_path / "only", tmp_path / "other")
