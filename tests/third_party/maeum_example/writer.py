"""An output format: WebVTT, subtitles for browsers."""

from __future__ import annotations

from maeum.analysis.writers import Writer
from maeum.models.card import ModelCard
from maeum.types import Timeline


def render_vtt(timeline: Timeline, card: ModelCard | None) -> str:
    """A cue for each segment that has a label."""
    cues = [
        f"{_clock(s.start_s)} --> {_clock(s.end_s)}\n{s.prediction.label}\n"
        for s in timeline.segments
        if s.prediction.label
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes):02d}:{rest:06.3f}"


WEBVTT = Writer(suffix=".vtt", title="subtitles, for browsers", render=render_vtt)
