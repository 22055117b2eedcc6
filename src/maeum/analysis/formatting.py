"""Texts of times, faces, values and shares, the same in the terminal, in reports and in files."""

from __future__ import annotations

import math
from collections.abc import Mapping

from maeum.types import Modality, Prediction, Segment

MODALITY_NAMES: dict[Modality, str] = {"faces": "face", "speech": "voice", "text": "words"}

#: What such predictions can and cannot mean; shown with every report.
MEANING = (
    "These are estimates of the emotion that a face, a voice and words seem to express to others. They do not tell "
    "what a person feels, thinks or intends: people hide, act and differ, between cultures too, and one moment is not "
    "a character. A model knows no more than the examples that it learned from, and is often wrong. Do not use it to "
    "judge people: not for hiring, schooling, policing, insurance or health, and not without the consent of those who "
    "are shown."
)


def format_time(seconds: float, *, srt: bool = False) -> str:
    """``1:02.5`` or, for subtitles, ``00:01:02,500``."""
    if srt:
        total = round(max(0.0, seconds) * 1000)
        hours, rest = divmod(total, 3_600_000)
        minutes, rest = divmod(rest, 60_000)
        return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"
    tenths = round(max(0.0, seconds) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"


def format_span(segment: Segment) -> str:
    """When a segment is: ``0:01.0 to 0:02.5``."""
    return f"{format_time(segment.start_s)} to {format_time(segment.end_s)}"


def format_face(id: int) -> str:
    """What a face track is called: ``face 2``."""
    return f"face {id}"


def shortened(text: str, width: int) -> str:
    """A text in at most so many signs; its middle gives way, as names often differ at their end only.

    >>> shortened("SPEAKER_00", 10), shortened("SPEAKER_00", 8)
    ('SPEAKER_00', 'SPEA…_00')
    """
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def format_value(value: float, scale: tuple[float, float]) -> str:
    """A value with as many digits as a scale deserves: tenths from 1 to 5, none from 0 to 100.

    >>> format_value(3.87, (1, 5)), format_value(-0.04, (-1, 1))
    ('3.9', '0.0')
    >>> format_value(42.4, (0, 100)), format_value(0.123, (0, 0.2))
    ('42', '0.12')
    """
    digits = max(0, 1 - math.floor(math.log10(scale[1] - scale[0])))
    return f"{round(value, digits) + 0.0:.{digits}f}"


def format_with_interval(name: str, answer: Prediction, scale: tuple[float, float]) -> str:
    """A value and where the true one may be: ``3.9 (2.7 to 5.0)``; the value alone where that was not measured."""
    shown = format_value(answer.values[name], scale)
    if name not in answer.intervals:
        return shown
    low, high = (format_value(end, scale) for end in answer.intervals[name])
    return f"{shown} ({low} to {high})"


def format_values(values: Mapping[str, float], scales: Mapping[str, tuple[float, float]]) -> str:
    """``valence 3.9, arousal 2.1``."""
    return ", ".join(f"{name} {format_value(value, scales[name])}" for name, value in values.items())


def format_percent(share: float) -> str:
    """A probability or a part in whole percent: ``82%``; never ``0%`` or ``100%``, as nothing here is certain.

    >>> format_percent(0.824), format_percent(0.9991), format_percent(0.003)
    ('82%', '>99%', '<1%')
    """
    shown = f"{share:.0%}"
    return {"0%": "<1%", "100%": ">99%"}.get(shown, shown)
