"""Rows for spreadsheets."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from maeum.analysis.writers import write_timeline
from maeum.types import Timeline


def test_values_in_a_spreadsheet(scales: Timeline, tmp_path: Path):
    (path,) = write_timeline(scales, tmp_path, ["csv"])
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    shown = ("v_valence", "v_valence_low", "v_valence_high", "v_arousal_low", "speech_v_arousal", "faces_share")
    assert [rows[0][name] for name in shown] == ["4.0000", "3.0000", "5.0000", "-0.2500", "0.8000", "0.6000"]
    assert [rows[1][name] for name in shown] == ["1.0000", "1.0000", "2.0000", "", "", "1.0000"]
    assert (rows[4]["v_valence"], rows[4]["reason"]) == ("", "no speech: the sound is silent")
    assert not {"label", "confidence"} & set(rows[0])


def test_csv_has_a_row_for_each_segment_and_keeps_words_with_commas(timeline: Timeline, tmp_path: Path):
    (path,) = write_timeline(timeline, tmp_path, ["csv"])
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert len(rows) == 3
    assert rows[0]["text"] == timeline.segments[0].text
    assert (rows[0]["label"], rows[0]["confidence"], rows[0]["p_happiness"]) == ("happiness", "0.8200", "0.8200")
    assert (rows[0]["speech_label"], rows[0]["speech_share"], rows[0]["text_label"]) == ("fear", "0.4000", "")
    assert (rows[2]["label"], rows[2]["reason"]) == ("", "no speech: the sound is silent")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_a_spreadsheet_runs_no_text_as_a_formula(timeline: Timeline, scales: Timeline, tmp_path: Path, start: str):
    """Words, names of speakers and files come from outside."""
    text = f'{start}HYPERLINK("http://example.org")'
    first = replace(timeline.segments[0], text=text, speaker=text)
    (path,) = write_timeline(replace(timeline, source=f"{start}1.mp4", segments=(first,)), tmp_path, ["csv"], stem="a")
    with path.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    shown = start.replace("\r", "\n")
    assert row["text"] == row["speaker"] == f'\'{shown}HYPERLINK("http://example.org")'
    assert row["source"] == f"'{shown}1.mp4"
    (path,) = write_timeline(scales, tmp_path, ["csv"])
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    assert rows[0]["v_arousal_low"] == "-0.2500", "numbers are no text"
