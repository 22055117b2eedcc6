"""Voice that a transcript does not cover is analysed or named in a note; it never disappears."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maeum
from maeum.analysis.segments import SHORTEST_SEGMENT_S, plan_segments
from maeum.media.text import TranscriptLine

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
EVERY_S = 0.5


def test_a_transcript_that_ends_early_keeps_the_voice_after_it(small_model: Path, tmp_path: Path):
    words = tmp_path / "first.srt"
    words.write_text("\n\n".join(DEMO.with_suffix(".srt").read_text().split("\n\n")[:2]) + "\n")
    timeline = maeum.load(small_model).analyse(DEMO, words)
    later = [s for s in timeline.segments if "speech" in s.prediction.modalities and s.start_s > 8.4]
    assert later
    assert min(s.start_s for s in later) == pytest.approx(9.2, abs=0.3)
    assert max(s.end_s for s in later) == pytest.approx(13.0, abs=0.3)
    assert all(s.text is None for s in later)


def test_a_pause_within_the_voice_does_not_delete_it():
    """Two stretches of less than 2 s each; together they are a segment."""
    voice = [(0.4, 8.3), (9.2, 10.9), (11.2, 13.0)]
    planned = plan_segments(13.8, [TranscriptLine("a", 0.4, 8.4)], voice, [], EVERY_S)
    assert [(s.start_s, s.end_s, s.text) for s in planned.segments] == [(0.4, 8.4, "a"), (9.2, 13.0, None)]
    assert planned.notes == ()


def test_short_voice_beside_a_line_joins_it():
    lines = [TranscriptLine("a", 1.0, 3.0), TranscriptLine("b", 6.5, 8.0)]
    planned = plan_segments(8.0, lines, [(1.0, 3.5), (6.0, 8.0)], [], EVERY_S)
    assert [(s.start_s, s.end_s, s.text) for s in planned.segments] == [(1.0, 3.5, "a"), (6.0, 8.0, "b")]
    assert planned.notes == ()


def test_a_line_keeps_its_times_where_the_voice_outlasts_it_by_a_moment():
    planned = plan_segments(8.0, [TranscriptLine("a", 1.0, 3.0)], [(0.9, 3.1)], [], EVERY_S)
    assert [(s.start_s, s.end_s) for s in planned.segments] == [(1.0, 3.0)]


def test_short_voice_far_from_every_line_is_named():
    lines = [TranscriptLine("a", 0.0, 2.0), TranscriptLine("b", 8.0, 10.0)]
    planned = plan_segments(10.0, lines, [(0.0, 2.0), (5.0, 5.8), (8.0, 10.0)], [], EVERY_S)
    assert [s.text for s in planned.segments] == ["a", "b"]
    assert planned.notes == (
        "1 stretch of voice outside the transcript's lines, 0.8 s in all, too short for a segment: not used",
    )


def test_voice_is_never_joined_across_a_line():
    planned = plan_segments(6.0, [TranscriptLine("no", 2.0, 2.4)], [(0.0, 6.0)], [], EVERY_S)
    assert [(s.start_s, s.end_s, s.text) for s in planned.segments] == [
        (0.0, 2.0, None), (2.0, 2.4, "no"), (2.4, 6.0, None),
    ]  # fmt: skip


spans = st.lists(st.tuples(st.floats(0, 30), st.floats(0.3, 6)), max_size=6).map(
    lambda pairs: sorted((round(a, 2), round(a + length, 2)) for a, length in pairs)
)


@settings(max_examples=200, deadline=None)
@given(voice=spans, cues=spans)
def test_all_voice_is_in_a_segment_or_in_a_note(voice: list[tuple[float, float]], cues: list[tuple[float, float]]):
    lines = [TranscriptLine("word", a, b) for a, b in cues]
    planned = plan_segments(40.0, lines, voice, [], EVERY_S)
    held = [(s.start_s, s.end_s) for s in planned.segments if s.has_voice]
    lost = [t / 100 for t in range(4000)
            if any(a + 1e-6 < t / 100 < b - 1e-6 for a, b in voice)
            and not any(a - 1e-6 <= t / 100 <= b + 1e-6 for a, b in held)]  # fmt: skip
    noted = any("not used" in note for note in planned.notes)
    edges = 0.2 * 2 * len(cues)  # what outlasts a line by a moment is the line's own
    assert noted or len(lost) / 100 <= edges + 1e-6
    assert not lost or not any(b - a >= SHORTEST_SEGMENT_S for a, b in _runs(lost))


def _runs(times: list[float]) -> list[tuple[float, float]]:
    runs: list[tuple[float, float]] = []
    for time in times:
        if runs and time - runs[-1][1] < 0.015:
            runs[-1] = (runs[-1][0], time)
        else:
            runs.append((time, time))
    return runs
