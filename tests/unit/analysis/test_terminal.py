"""A timeline in the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from maeum.analysis.formatting import shortened
from maeum.analysis.terminal import show_timeline
from maeum.types import Timeline


def show(timeline: Timeline, width: int) -> str:
    """What the terminal shows."""
    out = io.StringIO()
    show_timeline(timeline, Console(file=out, width=width, highlight=False, markup=False, emoji=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_terminal_shows_values_within_the_width(scales: Timeline, width: int):
    shown = show(scales, width)
    assert all(len(line) <= width for line in shown.splitlines() if "/films" not in line)
    flat = " ".join(shown.split())
    for said in ("valence 4.0 (3.0 to 5.0)", "valence 1.0 (1.0 to 2.0)", "arousal -1.0", "no answer", "face 2"):
        assert said in flat
    strip = next(line for line in shown.splitlines() if line.startswith("  valence"))
    marks = strip.split("valence")[1].strip()
    cells = len(marks)
    assert marks[0] == "▇", "4 is in the seventh of eight parts of 1 to 5"
    assert marks[round(cells * 0.3)] == "▁"
    assert marks[round(cells * 0.6)] == "·"


@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_terminal_shows_each_segment_within_the_width(timeline: Timeline, width: int):
    shown = show(timeline, width)
    assert "\x1b" not in shown, "no colour when it is not a terminal"
    assert all(len(line) <= width for line in shown.splitlines() if "/films" not in line)
    flat = " ".join(shown.split())
    for said in ("happiness 82%", "sadness 50%", "face 2", "no answer"):
        assert said in flat


@pytest.mark.parametrize("width", [50, 80, 120])
def test_lanes_whose_names_are_long_can_be_told_apart(timeline: Timeline, width: int):
    names = ("A very long name of somebody, the first", "A very long name of somebody, the second")
    segments = tuple(replace(timeline.segments[0], face=None, speaker=name) for name in names)
    shown = show(replace(timeline, segments=segments, tracks=()), width)
    lanes = [line for line in shown.splitlines() if "▏" in line]
    assert len(lanes) == 2
    starts = [line[: line.index("·")].strip() for line in lanes]
    assert len(set(starts)) == 2
    assert all("…" in start and start.startswith("A v") for start in starts)
    assert all(len(line) <= width for line in lanes)


def test_a_cut_label_has_a_mark(timeline: Timeline):
    short = replace(timeline, segments=(replace(timeline.segments[0], start_s=2.0, end_s=3.0),))
    lane = next(line for line in show(short, 80).splitlines() if "▏" in line)
    assert "▏hap…" in lane or "▏happ…" in lane
    whole = next(line for line in show(timeline, 120).splitlines() if "▏" in line)
    assert "▏happiness " in whole
    assert shortened("SPEAKER_01", 8) == "SPEA…_01"


def test_a_very_sure_prediction_does_not_read_as_certain(certain: Timeline):
    shown = show(certain, 80)
    assert "sadness >99%" in " ".join(shown.split())
    assert "100%" not in shown


@pytest.mark.parametrize(("width", "times"), [(40, ["0:00.0", "1:00:00.0", "2:00:00.0"]), (100, None)])
def test_times_below_the_strips_do_not_run_into_each_other(timeline: Timeline, width: int, times: list[str] | None):
    axis = next(
        line
        for line in show(replace(timeline, duration_s=7200.0), width).splitlines()
        if line.strip()[:6] == "0:00.0" and " - " not in line
    )
    assert axis.split() == (times or ["0:00.0", "30:00.0", "1:00:00.0", "1:30:00.0", "2:00:00.0"])
