"""Subtitles."""

from __future__ import annotations

from pathlib import Path

from maeum.analysis.writers import write_timeline
from maeum.media.text import read_transcript
from maeum.types import Timeline


def test_values_as_subtitles(scales: Timeline, tmp_path: Path):
    (path,) = write_timeline(scales, tmp_path, ["srt"])
    first, second, third, _ = read_transcript(path)
    assert "valence 4.0, arousal 0.2" in first.text
    assert "face 2: valence 1.0, arousal -1.0" in first.text
    assert "valence 1.0, arousal -1.0" in second.text
    assert third.text == "no answer (no speech: the sound is silent)"


def test_subtitles_can_be_read_back(timeline: Timeline, tmp_path: Path):
    (path,) = write_timeline(timeline, tmp_path, ["srt"])
    lines = read_transcript(path)
    assert [(line.start_s, line.end_s) for line in lines] == [(0.5, 4.25), (5.0, 12.5)]
    assert "happiness 82%" in lines[0].text
    assert "face 2: sadness 50%" in lines[0].text
    assert "no answer" in lines[1].text


def test_a_very_sure_prediction_does_not_read_as_certain(certain: Timeline, tmp_path: Path):
    (path,) = write_timeline(certain, tmp_path, ["srt"])
    assert "sadness >99%" in path.read_text()
