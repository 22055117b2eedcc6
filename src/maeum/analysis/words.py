"""How times, faces, modalities and notes are put into words, the same in the terminal, in reports and in files."""

from __future__ import annotations

import math
from collections.abc import Mapping

from maeum.types import Modality, Prediction

MODALITY_NAMES: dict[Modality, str] = {"faces": "face", "speech": "voice", "text": "words"}

#: What such predictions can and cannot mean; shown with every report.
MEANING = (
    "These are estimates of the emotion that a face, a voice and words seem to express to others. They do not tell "
    "what a person feels, thinks or intends: people hide, act and differ, between cultures too, and one moment is not "
    "a character. A model knows no more than the examples that it learned from, and is often wrong. Do not use it to "
    "judge people: not for hiring, schooling, policing, insurance or health, and not without the consent of those who "
    "are shown."
)


def clock(seconds: float, *, srt: bool = False) -> str:
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


def describe_face(id: int) -> str:
    """What a face track is called."""
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


def on_scale(value: float, scale: tuple[float, float]) -> str:
    """A value with as many digits as a scale deserves: tenths from 1 to 5, none from 0 to 100.

    >>> on_scale(3.87, (1, 5)), on_scale(-0.04, (-1, 1)), on_scale(42.4, (0, 100)), on_scale(0.123, (0, 0.2))
    ('3.9', '0.0', '42', '0.12')
    """
    digits = max(0, 1 - math.floor(math.log10(scale[1] - scale[0])))
    return f"{round(value, digits) + 0.0:.{digits}f}"


def with_interval(name: str, answer: Prediction, scale: tuple[float, float]) -> str:
    """A value and where the true one may be: ``3.9 (2.7 to 5.0)``; the value alone where that was not measured."""
    shown = on_scale(answer.values[name], scale)
    if name not in answer.intervals:
        return shown
    low, high = (on_scale(end, scale) for end in answer.intervals[name])
    return f"{shown} ({low} to {high})"


def in_a_row(values: Mapping[str, float], scales: Mapping[str, tuple[float, float]]) -> str:
    """``valence 3.9, arousal 2.1``."""
    return ", ".join(f"{name} {on_scale(value, scales[name])}" for name, value in values.items())


def percent(share: float) -> str:
    """A probability or a part in whole percent: ``82%``; never ``0%`` or ``100%``, as nothing here is certain.

    >>> percent(0.824), percent(0.9991), percent(0.003)
    ('82%', '>99%', '<1%')
    """
    shown = f"{share:.0%}"
    return {"0%": "<1%", "100%": ">99%"}.get(shown, shown)
