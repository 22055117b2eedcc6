"""SubRip subtitles: the emotion or the values of each segment, for players."""

from __future__ import annotations

from itertools import groupby

from maeum.analysis.formatting import format_face, format_percent, format_time, format_values
from maeum.analysis.writers.base import WRITERS, Writer
from maeum.models.card import ModelCard
from maeum.types import Segment, Timeline
from maeum.visible import visible


def render_srt(timeline: Timeline, card: ModelCard | None) -> str:
    """A cue for each stretch of time, with a line for each segment that has just these times."""
    cues = []
    ordered = sorted(timeline.segments, key=_times)
    for number, ((start_s, end_s), segments) in enumerate(groupby(ordered, key=_times), start=1):
        lines = [_line(segment, timeline) for segment in segments]
        times = f"{format_time(start_s, srt=True)} --> {format_time(end_s, srt=True)}"
        cues.append(f"{number}\n{times}\n" + "\n".join(lines) + "\n")
    return visible("\n".join(cues))


def _times(segment: Segment) -> tuple[float, float]:
    return segment.start_s, segment.end_s


def _line(segment: Segment, timeline: Timeline) -> str:
    prediction = segment.prediction
    if prediction.label:
        shown = f"{prediction.label} {format_percent(prediction.confidence)}"
    elif prediction.answered:
        shown = format_values(prediction.values, timeline.scales)
    else:
        shown = f"no answer ({prediction.reason})"
    face = format_face(segment.face) if segment.face and len(timeline.tracks) > 1 else None
    who = segment.speaker or face
    return " ".join(f"{who}: {shown}".split()) if who else shown


WRITERS.register("srt")(Writer(".srt", "subtitles, for players", render_srt))
