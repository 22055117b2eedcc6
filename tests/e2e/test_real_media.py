"""`maeum analyse` over real recordings: what holds whatever the model answers. Skipped where they are not at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

#: File -> how many faces have a lane, at least and at most.
FACES = {
    "bbaf2n.mpg": (1, 1),
    "crowd_7faces.mp4": (5, 8),
    "face_then_none_vfr.mov": (1, 1),
    "lbax4n.mpg": (1, 1),
    "man_20s.mp4": (1, 1),
    "no_audio_track.mp4": (1, 2),
    "no_face.mp4": (0, 0),
    "pwij3p.mpg": (1, 1),
    "several_people.mp4": (3, 8),
    "single_face.mp4": (1, 1),
    "swiz3n.mpg": (1, 1),
}
#: In these somebody is seen and heard at a time.
TALKING = ("bbaf2n.mpg", "lbax4n.mpg", "pwij3p.mpg", "swiz3n.mpg", "several_people.mp4")
WORDS = {"bbaf2n.mpg": "bin blue at f two now", "swiz3n.mpg": "set white in z three now"}


def test_every_recording_at_hand_is_expected(shared_data: Path):
    assert {p.name for p in (shared_data / "media").iterdir()} == set(FACES)


@pytest.mark.parametrize("name", FACES)
def test_analyse_a_real_recording(
    maeum: Callable[..., Any], small_model: Path, shared_data: Path, tmp_path: Path, name: str
):
    arguments: list[object] = ["analyse", shared_data / "media" / name, "--model", small_model]
    if name in WORDS:
        words = tmp_path / "words.txt"
        words.write_text(WORDS[name])
        arguments += ["--transcript", words]
    out = tmp_path / "out"
    ended = maeum(*arguments, "--out", out, "--format", "html,json,csv,srt")
    assert (ended.code, ended.err) == (0, "")
    assert sorted(p.suffix for p in out.iterdir()) == [".csv", ".html", ".json", ".srt"]
    data = json.loads(next(out.glob("*.json")).read_text())
    _check_sound(data)

    shown, segments = " ".join(ended.out.split()), data["segments"]
    lanes = {s["face"] for s in segments if s["face"]}
    least, most = FACES[name]
    assert least <= len(lanes) <= most
    assert lanes == {t["id"] for t in data["tracks"]}
    assert all(f"face {face} " in shown for face in lanes if len(lanes) > 1)
    if name in TALKING:
        assert any({"faces", "speech"} <= set(s["prediction"]["modalities"]) for s in segments)
    if name in WORDS:
        assert [s["text"] for s in segments if s["text"]] == [WORDS[name]]
        assert any("text" in s["prediction"]["modalities"] for s in segments)
    if name == "no_audio_track.mp4":
        assert not any("speech" in s["prediction"]["modalities"] for s in segments)
        assert "the recording has no sound" in shown
    if name == "no_face.mp4":
        assert not any("faces" in s["prediction"]["modalities"] for s in segments)
        assert "no face in 9 pictures" in shown
        assert "no face in 9 pictures" in next(out.glob("*.html")).read_text()
    if name == "face_then_none_vfr.mov":
        (track,) = data["tracks"]
        last_seen = max(box["time_s"] for box in track["boxes"])
        assert last_seen < data["duration_s"] - 2, "the face leaves"
        assert all(s["end_s"] <= last_seen + 0.5 for s in segments if s["face"])


def _check_sound(data: dict[str, Any]) -> None:
    """What holds for every timeline."""
    assert data["segments"]
    for s in data["segments"]:
        answer = s["prediction"]
        assert 0 <= s["start_s"] < s["end_s"] <= data["duration_s"] + 1e-3
        assert sum(answer["probs"].values()) == pytest.approx(1)
        assert all(sum(o["probs"].values()) == pytest.approx(1) for o in answer["modalities"].values())
        if answer["label"]:
            assert answer["confidence"] == answer["probs"][answer["label"]] == max(answer["probs"].values())
            assert sum(o["share"] for o in answer["modalities"].values()) == pytest.approx(1, abs=1e-4)
        else:
            assert answer["reason"]
    for track in data["tracks"]:
        assert track["thumbnail_png"]
        mine = sorted((s["start_s"], s["end_s"]) for s in data["segments"] if s["face"] == track["id"])
        assert mine, "a face without an answer"
        assert all(a[1] <= b[0] + 1e-3 for a, b in pairwise(mine)), "two answers for one face at a time"
        for start, end in mine:
            assert any(start - 0.5 <= box["time_s"] <= end for box in track["boxes"]), "a face that is not there"
