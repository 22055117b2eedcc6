"""How a recording is divided into segments, and which face belongs to each.

Rules, in this order:

1. Each line of a transcript with times is a segment; long lines are split. Voice that no line covers becomes segments
   without words, or joins the line beside it where it is short. Without a transcript, stretches of voice are joined
   over short pauses and split to about 2 to 6 s.
2. A segment with voice belongs to its *main face*: the largest, longest-visible one (the sum of its areas). A stretch
   of voice without words is also cut where the main face changes, as at a cut of the film.
3. Faces that are visible while they are not the main face of a voice get segments of their own, from the picture alone.
   A face that leaves ends its segment.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from maeum.media.text import TranscriptLine
from maeum.wording import counted

#: Stretches of voice shorter than this look for a neighbour; longer than that are split.
SHORT_S, LONG_S = 2.0, 6.0
#: A line of a transcript longer than this is split into parts of about LONG_S.
LONGEST_LINE_S = 10.0
#: Voice with a pause up to this is one stretch; a stretch shorter than SHORT_S reaches over a longer one.
_PAUSE_S, _REACH_S = 0.6, 1.5
#: Length of a segment from the picture alone, with few faces and with many.
_LOOK_S, _LOOK_MANY_S, _MANY = 2.0, 4.0, 2
#: A face is followed on its own when it is seen for this long without a break.
_SEEN_S = 1.0
#: Voice that no line of a transcript covers is a segment of its own from this length on.
SHORTEST_SEGMENT_S = 1.0
#: Voice that outlasts a line by less is the line's own: voice activity has margins, and subtitles are not exact.
_EDGE_S = 0.2
#: Spans that are shorter come from rounding.
_SPAN_ROUNDING_S = 1e-6
#: A change of the main face cuts a stretch of voice when both parts are this long.
_CUT_S = 1.0
#: As many faces as stay readable have a lane; the largest and longest seen.
MOST_FACES = 8

Span = tuple[float, float]


@dataclass(frozen=True)
class FacePresence:
    """When a face is visible. times_s: of the frames that show it, ascending. areas: of its boxes, in pixels."""

    id: int
    times_s: tuple[float, ...]
    areas: tuple[float, ...]

    def score(self, start_s: float, end_s: float) -> float:
        """How large and how long it is visible within a stretch: the sum of its areas."""
        return sum(self.areas[bisect_left(self.times_s, start_s) : bisect_left(self.times_s, end_s)])

    def seen(self, start_s: float, end_s: float) -> bool:
        """Whether a frame within a stretch shows it."""
        return bisect_left(self.times_s, start_s) < bisect_left(self.times_s, end_s)


@dataclass(frozen=True)
class PlannedSegment:
    """A segment before it is predicted. face: id of its face. has_voice: whether it includes the sound."""

    start_s: float
    end_s: float
    face: int | None = None
    has_voice: bool = False
    text: str | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class SegmentPlan:
    """Segments in order of time, ids of the faces that are followed, and notes for the user."""

    segments: tuple[PlannedSegment, ...]
    faces: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def plan_segments(
    duration_s: float,
    lines: Sequence[TranscriptLine],
    voice: Sequence[Span],
    faces: Sequence[FacePresence],
    every_s: float,
) -> SegmentPlan:
    """Segments of a recording.

    Args:
        duration_s: its length.
        lines: its transcript, or nothing.
        voice: stretches (start, end) in seconds with voice activity, ascending.
        faces: the faces seen.
        every_s: distance of the sampled frames.

    Returns:
        The plan; without words, voice and faces it has no segments.
    """
    notes: list[str] = []
    voice = [(max(0.0, a), min(b, duration_s)) for a, b in voice if a < duration_s and b > a]
    timed = [line for line in lines if line.start_s is not None]
    if timed:
        if len(timed) < len(lines):
            notes.append(f"{counted(len(lines) - len(timed), 'line')} of the transcript without a time left out")
        from_lines, uncovered = _join_short_voice(_from_lines(timed, duration_s, notes), voice, duration_s, notes)
        spoken = [_with_main_face(s, faces) for s in from_lines] + _from_stretches(uncovered, faces, every_s)
    else:
        spoken = _from_stretches(stretches(voice), faces, every_s)
        spoken = _spread(" ".join(line.text for line in lines), spoken, duration_s, faces, notes)
    chosen = _chosen(faces, spoken, every_s, notes)
    alone = [s for face in chosen for s in _alone(face, spoken, len(chosen), every_s, duration_s)]
    segments = sorted([*spoken, *alone], key=lambda s: (s.start_s, not s.has_voice, s.face is None, s.face or 0))
    return SegmentPlan(tuple(segments), tuple(face.id for face in chosen), tuple(notes))


def _from_stretches(voice: Sequence[Span], faces: Sequence[FacePresence], every_s: float) -> list[PlannedSegment]:
    """Segments without words: stretches of voice, cut where the main face changes, then to at most `LONG_S`."""
    return [
        _with_main_face(PlannedSegment(a, b, has_voice=True), faces)
        for span in voice
        for whole in _cut_at_faces(span, faces, every_s)
        for a, b in _equal_parts(*whole, LONG_S)
    ]


def stretches(voice: Sequence[Span]) -> list[Span]:
    """Spans of voice, joined over short pauses."""
    joined: list[Span] = []
    for start, end in sorted(voice):
        if joined:
            begin, until = joined[-1]
            pause, short = start - until, min(until - begin, end - start) < SHORT_S
            if pause <= (_REACH_S if short and end - begin <= LONG_S else _PAUSE_S):
                joined[-1] = (begin, max(until, end))
                continue
        joined.append((start, end))
    return joined


def _equal_parts(start_s: float, end_s: float, longest_s: float) -> list[Span]:
    count = max(1, math.ceil((end_s - start_s) / longest_s - 1e-9))
    step = (end_s - start_s) / count
    return [(start_s + i * step, end_s if i == count - 1 else start_s + (i + 1) * step) for i in range(count)]


def _from_lines(lines: Sequence[TranscriptLine], duration_s: float, notes: list[str]) -> list[PlannedSegment]:
    """A segment for each line of a timed transcript; long ones are split between words."""
    lines = sorted(lines, key=lambda line: line.start_s or 0.0)
    starts = [line.start_s or 0.0 for line in lines]
    planned: list[PlannedSegment] = []
    beyond = instants = 0
    for line in lines:
        start = max(0.0, line.start_s or 0.0)
        following = bisect_right(starts, start)
        end = line.end_s if line.end_s is not None else min([duration_s, *starts[following : following + 1]])
        end = min(end, duration_s)
        if end <= start:
            if start < duration_s:
                instants += 1
            else:
                beyond += 1
            continue
        spans = _equal_parts(start, end, LONG_S) if end - start > LONGEST_LINE_S else [(start, end)]
        for (a, b), text in zip(spans, share_words(line.text, [b - a for a, b in spans]), strict=True):
            planned.append(PlannedSegment(a, b, has_voice=True, text=text, speaker=line.speaker))
    if beyond:
        notes.append(f"{counted(beyond, 'line')} of the transcript beyond the recording's end left out")
    if instants:
        notes.append(f"{counted(instants, 'line')} of the transcript that {'ends' if instants == 1 else 'end'} when "
                     f"{'it begins' if instants == 1 else 'they begin'} left out")  # fmt: skip
    return planned


def share_words(text: str, weights: Sequence[float]) -> list[str]:
    """The words of a text dealt out to parts in proportion to their weights, in order; nothing is lost."""
    words = text.split()
    total = sum(weights) or 1.0
    characters = sum(len(w) + 1 for w in words) or 1
    parts: list[list[str]] = [[] for _ in weights]
    limits = [so_far / total * characters for so_far in accumulate(weights)]
    position = 0.0
    for word in words:
        middle = position + (len(word) + 1) / 2
        parts[min(bisect_left(limits, middle), len(parts) - 1)].append(word)
        position += len(word) + 1
    return [" ".join(part) for part in parts]


def _spread(
    text: str, spoken: list[PlannedSegment], duration_s: float, faces: Sequence[FacePresence], notes: list[str]
) -> list[PlannedSegment]:
    """A transcript without times, dealt out to the stretches of voice."""
    if not text.strip():
        return spoken
    if not spoken:
        notes.append("the transcript has no times and no voice was found: its words are taken for the whole recording")
        return [_with_main_face(PlannedSegment(0.0, duration_s, has_voice=True, text=text), faces)]
    if len(spoken) == 1:
        return [replace(spoken[0], text=text)]
    notes.append("the transcript has no times: its words were spread over the stretches of voice, so which is in which "
                 "segment is approximate")  # fmt: skip
    shares = share_words(text, [s.end_s - s.start_s for s in spoken])
    return [replace(s, text=share or None) for s, share in zip(spoken, shares, strict=True)]


def _join_short_voice(
    from_lines: Sequence[PlannedSegment], voice: Sequence[Span], duration_s: float, notes: list[str]
) -> tuple[list[PlannedSegment], list[Span]]:
    """What becomes of the voice that no line of a transcript covers.

    Returns:
        The segments of the lines, those beside a short stretch of voice prolonged by it; and the stretches that are
        long enough for segments of their own. A note counts what is neither.
    """
    segments, alone, unused = list(from_lines), list[Span](), list[float]()
    ending, starting = defaultdict[float, list[int]](list), defaultdict[float, list[int]](list)
    for i, segment in enumerate(segments):  # each at most once prolonged at either end, and not beyond its gap
        ending[segment.end_s].append(i)
        starting[segment.start_s].append(i)
    gaps = _minus([(0.0, duration_s)], [(s.start_s, s.end_s) for s in from_lines])
    for gap, within in zip(gaps, _shared_out(voice, gaps), strict=True):
        for start, end in stretches(_voice_within(gap, within)):
            before = ending[gap[0]] if start - gap[0] <= _PAUSE_S else []
            after = starting[gap[1]] if gap[1] - end <= _PAUSE_S else []
            if end - start >= SHORTEST_SEGMENT_S:
                alone.append((start, end))
            elif before and (not after or start - gap[0] <= gap[1] - end):
                i = before.pop(0)
                segments[i] = replace(segments[i], end_s=end)
            elif after:
                i = after.pop(0)
                segments[i] = replace(segments[i], start_s=start)
            else:
                unused.append(end - start)
    if unused:
        notes.append(f"{counted(len(unused), 'stretch')} of voice outside the transcript's lines, "
                     f"{sum(unused):.1f} s in all, too short for a segment: not used")  # fmt: skip
    return segments, alone


def _shared_out(voice: Sequence[Span], gaps: Sequence[Span]) -> Iterator[Sequence[Span]]:
    """For each gap, both in the order of time, the stretches of voice that reach into it."""
    latest = list(accumulate((end for _, end in voice), max))
    starts = [start for start, _ in voice]
    for begin, end in gaps:
        yield voice[bisect_right(latest, begin) : bisect_left(starts, end)]


def _voice_within(gap: Span, voice: Sequence[Span]) -> list[Span]:
    """The voice between two lines, without the edges of the lines' own voice."""
    within = [(max(a, gap[0]), min(b, gap[1])) for a, b in voice]
    return [(a, b) for a, b in within if b - a > _SPAN_ROUNDING_S and (b - a >= _EDGE_S or (a > gap[0] and b < gap[1]))]


def _with_main_face(segment: PlannedSegment, faces: Sequence[FacePresence]) -> PlannedSegment:
    seen = [f for f in faces if f.seen(segment.start_s, segment.end_s)]
    if not seen:
        return segment
    return replace(segment, face=max(seen, key=lambda f: f.score(segment.start_s, segment.end_s)).id)


def _cut_at_faces(span: Span, faces: Sequence[FacePresence], every_s: float) -> list[Span]:
    """A stretch of voice cut where its main face changes, if the parts are not too short."""
    start, end = span
    runs: list[tuple[int | None, float, float]] = []
    scores = {f.id: f.score(start, end) for f in faces}
    for i in range(max(1, math.ceil((end - start) / every_s - 1e-9))):
        a, b = start + i * every_s, min(start + (i + 1) * every_s, end)
        seen = [f.id for f in faces if f.seen(a, b)]
        main = max(seen, key=lambda id: scores[id], default=None)
        if runs and runs[-1][0] == main:
            runs[-1] = (main, runs[-1][1], b)
        else:
            runs.append((main, a, b))
    return [(a, b) for _, a, b in _without_short(runs)]


def _without_short(runs: list[tuple[int | None, float, float]]) -> list[tuple[int | None, float, float]]:
    """Runs of which none is shorter than `_CUT_S`: the shortest joins its longer neighbour, until all are long."""
    runs = list(runs)
    while len(runs) > 1:
        i = min(range(len(runs)), key=lambda k: runs[k][2] - runs[k][1])
        if runs[i][2] - runs[i][1] >= _CUT_S:
            break
        neighbours = [k for k in (i - 1, i + 1) if 0 <= k < len(runs)]
        k = max(neighbours, key=lambda n: runs[n][2] - runs[n][1])
        first, last = min(i, k), max(i, k)
        runs[first : last + 1] = [(runs[k][0], runs[first][1], runs[last][2])]
        runs = _joined(runs)
    return runs


def _joined(runs: list[tuple[int | None, float, float]]) -> list[tuple[int | None, float, float]]:
    out = runs[:1]
    for run in runs[1:]:
        if run[0] == out[-1][0]:
            out[-1] = (run[0], out[-1][1], run[2])
        else:
            out.append(run)
    return out


def _chosen(
    faces: Sequence[FacePresence], spoken: Sequence[PlannedSegment], every_s: float, notes: list[str]
) -> list[FacePresence]:
    """The faces that get a lane: main faces, and others that are seen long enough, not more than stay readable."""
    main = {s.face for s in spoken}
    lasting = [f for f in faces if f.id in main or _intervals(f, every_s, _SEEN_S)]
    if not lasting and faces:
        lasting = [max(faces, key=lambda f: sum(f.areas))]
    ranked = sorted(lasting, key=lambda f: (f.id not in main, -sum(f.areas)))
    chosen = ranked[: max(MOST_FACES, len(main - {None}))]
    left = len(faces) - len(chosen)
    if left == 1:
        notes.append("1 other face was too brief or too small to follow")
    elif left:
        notes.append(f"{left} other faces were too brief or too small to follow; some may be the same person")
    return sorted(chosen, key=lambda f: f.id)


def _alone(
    face: FacePresence, spoken: Sequence[PlannedSegment], faces: int, every_s: float, duration_s: float
) -> list[PlannedSegment]:
    """Segments of a face from the picture alone, where it is not the main face of a voice."""
    taken = [(s.start_s, s.end_s) for s in spoken if s.face == face.id]
    everywhere = _intervals(face, every_s, 0.0)
    rest = [(a, min(b, duration_s)) for a, b in _minus(everywhere, taken)]
    long_enough = [(a, b) for a, b in rest if b - a >= _SEEN_S]
    if not long_enough and not taken:
        long_enough = sorted(rest, key=lambda span: span[0] - span[1])[:1]
    length = _LOOK_S if faces <= _MANY else _LOOK_MANY_S
    windows = []
    for a, b in long_enough:
        count = max(1, round((b - a) / length))
        windows += _equal_parts(a, b, (b - a) / count)
    return [PlannedSegment(a, b, face=face.id) for a, b in windows if b > a and face.seen(a, b)]


def _intervals(face: FacePresence, every_s: float, at_least_s: float) -> list[Span]:
    """Stretches in which a face is seen without a break; one missed frame is not a break."""
    spans: list[Span] = []
    for t in face.times_s:
        if spans and t - spans[-1][1] <= 1.01 * every_s:
            spans[-1] = (spans[-1][0], t + every_s)
        else:
            spans.append((t, t + every_s))
    return [(a, b) for a, b in spans if b - a >= at_least_s - 1e-9]


def _minus(spans: Sequence[Span], taken: Sequence[Span]) -> list[Span]:
    """The parts of spans, which are in the order of time, that no taken span covers."""
    rest: list[Span] = []
    merged: list[Span] = []
    for begin, end in sorted(taken):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    ends = [end for _, end in merged]
    for a, b in spans:
        i = bisect_right(ends, a)
        while i < len(merged) and merged[i][0] < b:
            rest.append((a, merged[i][0]))
            a = merged[i][1]
            i += 1
        rest.append((a, b))
    return [(a, b) for a, b in rest if b - a > _SPAN_ROUNDING_S]
