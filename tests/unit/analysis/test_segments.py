"""What becomes a segment, whose face it has, and what the other faces do meanwhile."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maeum.analysis.segments import (
    LONG_S,
    MOST_FACES,
    FacePresence,
    PlannedSegment,
    plan_segments,
    share_words,
    stretches,
)
from maeum.media.text import TranscriptLine

EVERY = 0.5


def face(id: int, start: float, end: float, area: float = 100.0) -> FacePresence:
    times = tuple(start + i * EVERY for i in range(round((end - start) / EVERY)))
    return FacePresence(id, times, tuple(area for _ in times))


def test_voice_is_joined_over_short_pauses_and_kept_apart_over_long_ones():
    assert stretches([(0.0, 1.5), (1.9, 3.5), (6.0, 9.0)]) == [(0.0, 3.5), (6.0, 9.0)]


def test_a_short_stretch_reaches_over_a_longer_pause():
    assert stretches([(0.0, 0.8), (2.0, 5.0)]) == [(0.0, 5.0)]
    assert stretches([(0.0, 2.5), (3.7, 6.2)]) == [(0.0, 2.5), (3.7, 6.2)]


def test_long_voice_is_split_into_parts_of_at_most_six_seconds():
    parts = plan_segments(20.0, [], [(1.0, 18.0)], [], EVERY).segments
    assert [round(p.end_s - p.start_s, 6) for p in parts] == [round(17 / 3, 6)] * 3
    assert (parts[0].start_s, parts[-1].end_s) == (1.0, 18.0)
    assert all(p.has_voice and p.face is None for p in parts)


def test_the_main_face_is_the_one_with_the_most_picture_over_time():
    large_but_short, small_but_long = face(1, 0.0, 0.5, area=300), face(2, 0.0, 4.0, area=100)
    (segment, *_) = plan_segments(
        4.0, [TranscriptLine("hello", 0.0, 4.0)], [], [large_but_short, small_but_long], EVERY
    ).segments
    assert (segment.face, segment.text, segment.has_voice) == (2, "hello", True)


def test_voice_without_words_is_cut_where_the_main_face_changes():
    planned = plan_segments(6.0, [], [(0.0, 6.0)], [face(1, 0.0, 3.0), face(2, 3.0, 6.0)], EVERY)
    assert [(s.start_s, s.end_s, s.face) for s in planned.segments] == [(0.0, 3.0, 1), (3.0, 6.0, 2)]


def test_a_flicker_of_another_face_does_not_cut():
    planned = plan_segments(6.0, [], [(0.0, 6.0)], [face(1, 0.0, 6.0), face(2, 3.0, 3.5, area=900)], EVERY)
    assert [(s.start_s, s.end_s, s.face) for s in planned.segments if s.has_voice] == [(0.0, 6.0, 1)]


def test_a_timed_line_is_never_cut_by_faces():
    line = TranscriptLine("one two three", 0.0, 6.0, "Ann")
    planned = plan_segments(6.0, [line], [], [face(1, 0.0, 3.0), face(2, 3.0, 6.0)], EVERY)
    spoken = [s for s in planned.segments if s.has_voice]
    assert [(s.start_s, s.end_s, s.text, s.speaker) for s in spoken] == [(0.0, 6.0, "one two three", "Ann")]


def test_other_faces_get_segments_of_their_own():
    planned = plan_segments(
        6.0, [TranscriptLine("hello", 0.0, 6.0)], [], [face(1, 0.0, 6.0, 400), face(2, 2.0, 6.0)], EVERY
    )
    other = [(s.start_s, s.end_s, s.has_voice, s.text) for s in planned.segments if s.face == 2]
    assert other == [(2.0, 4.0, False, None), (4.0, 6.0, False, None)]


def test_gaps_between_lines_are_kept_as_segments_of_the_face():
    lines = [TranscriptLine("a", 0.0, 2.0), TranscriptLine("b", 6.0, 8.0)]
    planned = plan_segments(8.0, lines, [], [face(1, 0.0, 8.0)], EVERY)
    assert [(s.start_s, s.end_s, s.has_voice) for s in planned.segments] == [
        (0.0, 2.0, True), (2.0, 4.0, False), (4.0, 6.0, False), (6.0, 8.0, True),
    ]  # fmt: skip


def test_a_face_that_leaves_ends_its_segment():
    planned = plan_segments(10.0, [], [], [face(1, 0.0, 3.0)], EVERY)
    assert planned.segments[-1].end_s == 3.0


def test_without_voice_and_faces_there_is_nothing():
    assert plan_segments(10.0, [], [], [], EVERY).segments == ()


def test_a_single_frame_is_a_segment_that_ends_with_the_recording():
    (only,) = plan_segments(0.04, [], [], [FacePresence(1, (0.0,), (50.0,))], EVERY).segments
    assert (only.start_s, only.end_s, only.face) == (0.0, 0.04, 1)


def test_many_faces_are_limited_and_counted():
    faces = [face(i, 0.0, 4.0, area=100 + i) for i in range(1, 13)]
    planned = plan_segments(4.0, [], [], faces, EVERY)
    assert len(planned.faces) == MOST_FACES
    assert planned.faces == tuple(range(13 - MOST_FACES, 13)), "the largest ones are followed"
    assert f"{12 - MOST_FACES} other faces were too brief or too small to follow" in planned.notes[0]


def test_untimed_words_are_spread_over_the_voice_and_it_is_said():
    planned = plan_segments(10.0, [TranscriptLine("one two three four five six")], [(0.0, 4.0), (6.0, 8.0)], [], EVERY)
    assert [s.text for s in planned.segments] == ["one two three four", "five six"]
    assert any("no times" in note for note in planned.notes)


def test_untimed_words_of_a_single_stretch_are_its_words():
    planned = plan_segments(5.0, [TranscriptLine("all of it")], [(1.0, 4.0)], [], EVERY)
    assert [(s.start_s, s.end_s, s.text) for s in planned.segments] == [(1.0, 4.0, "all of it")]
    assert planned.notes == ()


def test_untimed_words_without_voice_belong_to_the_whole():
    planned = plan_segments(5.0, [TranscriptLine("silent film")], [], [face(1, 0.0, 5.0)], EVERY)
    assert [(s.start_s, s.end_s, s.text, s.face) for s in planned.segments] == [(0.0, 5.0, "silent film", 1)]


def test_lines_beyond_the_end_are_counted_not_lost_in_silence():
    planned = plan_segments(5.0, [TranscriptLine("in", 1.0, 2.0), TranscriptLine("out", 7.0, 8.0)], [], [], EVERY)
    assert [s.text for s in planned.segments] == ["in"]
    assert planned.notes[0] == "1 line of the transcript beyond the recording's end left out"


def test_a_line_without_an_end_lasts_to_the_next():
    planned = plan_segments(9.0, [TranscriptLine("a", 1.0), TranscriptLine("b", 3.0)], [], [], EVERY)
    assert [(s.start_s, s.end_s) for s in planned.segments] == [(1.0, 3.0), (3.0, 9.0)]


def test_voice_that_the_transcript_is_silent_about_is_kept():
    planned = plan_segments(10.0, [TranscriptLine("a", 0.0, 2.0)], [(0.0, 2.0), (5.0, 8.0)], [], EVERY)
    assert [(s.start_s, s.end_s, s.text) for s in planned.segments] == [(0.0, 2.0, "a"), (5.0, 8.0, None)]


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0], [5.0, 1.0, 1.0], [0.0, 1.0]])
def test_shared_words_lose_nothing_and_keep_their_order(weights: list[float]):
    text = "the quick brown fox jumps over the lazy dog"
    assert " ".join(part for part in share_words(text, weights) if part) == text


spans = st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 9)), max_size=6).map(
    lambda pairs: sorted((a, a + length) for a, length in pairs)
)
tracks = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30), st.floats(10, 1000)), max_size=5)


@settings(max_examples=150, deadline=None)
@given(voice=spans, seen=tracks, duration=st.floats(0.5, 40))
def test_whatever_comes_segments_are_sound(
    voice: list[tuple[float, float]], seen: list[tuple[int, int, float]], duration: float
):
    """Inside the recording, not empty, not too long, ordered; one face is never in two segments at a time."""
    faces = [face(i, a * EVERY, (a + n) * EVERY, area) for i, (a, n, area) in enumerate(seen, start=1)]
    faces = [f for f in faces if f.times_s[0] < duration]
    segments = plan_segments(duration, [], voice, faces, EVERY).segments
    assert all(0 <= s.start_s < s.end_s <= duration + 1e-6 for s in segments)
    assert all(s.end_s - s.start_s <= LONG_S + 1e-6 for s in segments)
    assert [s.start_s for s in segments] == sorted(s.start_s for s in segments)
    by_face: dict[int, list[PlannedSegment]] = {}
    for s in segments:
        if s.face is not None:
            by_face.setdefault(s.face, []).append(s)
    for mine in by_face.values():
        assert all(a.end_s <= b.start_s + 1e-6 for a, b in pairwise(mine))


def work_of(lines: int, frames_a_line: int = 2) -> int:
    """Steps of the interpreter that a transcript of so many lines takes, with voice and two faces all along."""
    words = [TranscriptLine("a b", i * 2.0, i * 2.0 + 1.4) for i in range(lines)]
    voice = [(i * 2.0, i * 2.0 + 1.8) for i in range(lines)]
    times = tuple(i * 2.0 / frames_a_line for i in range(lines * frames_a_line))
    faces = [FacePresence(k, times, (100.0 + k,) * len(times)) for k in (1, 2)]
    steps = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        plan = plan_segments(lines * 2.0, words, voice, faces, 0.5)
    finally:
        sys.settrace(before)
    assert len(plan.segments) >= lines
    return steps


def test_a_long_transcript_takes_time_in_proportion_to_its_lines() -> None:
    few, many = work_of(100), work_of(400)
    assert many < 4.5 * few


def test_twenty_thousand_lines_in_a_short_recording() -> None:
    words = [TranscriptLine("a", i / 2000, i / 2000 + 0.0004) for i in range(20_000)]
    plan = plan_segments(10.0, words, [(i / 2000, i / 2000 + 0.00045) for i in range(20_000)], [], 0.5)
    assert sum(segment.text is not None for segment in plan.segments) == 20_000


def test_a_line_without_length_is_counted_apart_from_those_beyond_the_end() -> None:
    lines = [TranscriptLine("a", 1.0, 2.0), TranscriptLine("b", 3.0, 3.0), TranscriptLine("c", 20.0, 21.0)]
    plan = plan_segments(10.0, lines, [], [], 0.5)
    assert [segment.text for segment in plan.segments] == ["a"]
    assert plan.notes == (
        "1 line of the transcript beyond the recording's end left out",
        "1 line of the transcript that ends when it begins left out",
    )
