"""Values on scales as the HTML report draws them: a line for each scale of each lane, its interval shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maeum.analysis.formatting import (
    MODALITY_NAMES,
    format_percent,
    format_span,
    format_value,
    format_values,
    format_with_interval,
)
from maeum.analysis.palette import line_colours
from maeum.types import MODALITIES, Prediction, Segment, Timeline

#: Heights in SVG units: of a lane's name, of a scale's field, of the room below it, and of the digits of a value.
_NAME, _FIELD, _GAP, _DIGIT = 30.0, 66.0, 12.0, 12.0
#: Segments of a lane that are further apart than this are not joined by a line.
_JOIN_S = 0.5


@dataclass(frozen=True)
class Mark:
    """A segment in a scale's field: the shaded interval, and the value in digits or, if it fits, ``no answer``."""

    answered: bool
    x: float
    width: float
    top: float
    height: float
    digits: str
    digits_y: float
    anchor: str
    tip: str


@dataclass(frozen=True)
class Curve:
    """One scale of a lane. line: an SVG path through the values. ends: its highest and lowest value, in digits."""

    name: str
    colour: str
    y: float
    height: float
    line: str
    ends: tuple[str, str]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class CurveLane:
    """The curves of one face or speaker. y: of its name."""

    name: str
    y: float
    portrait: str | None
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Reading:
    """One value of a card, as a dot on its scale. at, low, width: of the dot and the interval, percent of the scale."""

    name: str
    colour: str
    at: float
    low: float
    width: float
    shown: str
    ends: tuple[str, str]


def curve_lanes(
    timeline: Timeline,
    lanes: Sequence[tuple[str, Sequence[Segment]]],
    portraits: Mapping[int, str | None],
    numbers: Mapping[int, int],
    left: float,
    width: float,
) -> list[CurveLane]:
    """The drawn timeline of a model of scales.

    Args:
        timeline: with ``scales``.
        lanes: names and segments; see `terminal.lanes_of`.
        portraits: of faces, as data URIs.
        numbers: number of each segment's card, by the segment's ``id()``.
        left: where time 0 is.
        width: of the drawing; its end is the recording's.
    """
    tones = line_colours(tuple(timeline.scales))
    drawn = []
    y = 4.0
    for name, segments in lanes:
        top = y
        y += _NAME
        curves = []
        for scale in timeline.scales:
            curves.append(_curve(scale, tones[scale], name, segments, timeline, numbers, y, left, width))
            y += _FIELD + _GAP
        drawn.append(CurveLane(name, top, portrait_of(segments, portraits), tuple(curves)))
    return drawn


def portrait_of(segments: Sequence[Segment], portraits: Mapping[int, str | None]) -> str | None:
    """The picture of a lane's face; None where it has none."""
    return next((portraits.get(segment.face) for segment in segments if segment.face), None)


def bottom_of(lanes: Sequence[CurveLane]) -> float:
    """Where the last field ends."""
    return max((curve.y + curve.height for lane in lanes for curve in lane.curves), default=4.0)


def readings(prediction: Prediction, scales: Mapping[str, tuple[float, float]]) -> tuple[Reading, ...]:
    """The values of a prediction, for the card of its segment."""
    tones = line_colours(tuple(scales))
    out = []
    for name, value in prediction.values.items():
        ends = scales[name]
        low, high = (100 * _share(end, ends) for end in prediction.intervals.get(name, (value, value)))
        at, shown = 100 * _share(value, ends), format_with_interval(name, prediction, ends)
        out.append(Reading(name, tones[name], round(at, 2), round(low, 2), round(high - low, 2), shown, _digits(ends)))
    return tuple(out)


def own_values(prediction: Prediction, scales: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """Each modality's own values: ``face 62%: valence 3.9, arousal 2.1``; the percentage is how much it counted."""
    own = [(m, prediction.modalities[m]) for m in MODALITIES if m in prediction.modalities]
    if len(own) < 2:
        return tuple(f"from the {MODALITY_NAMES[m]} alone" for m, _ in own)
    return tuple(f"{MODALITY_NAMES[m]} {format_percent(o.share)}: {format_values(o.values, scales)}" for m, o in own)


def _curve(
    scale: str,
    colour: str,
    lane: str,
    segments: Sequence[Segment],
    timeline: Timeline,
    numbers: Mapping[int, int],
    y: float,
    left: float,
    width: float,
) -> Curve:
    ends = timeline.scales[scale]
    per_second = (width - left) / max(timeline.duration_s, 1e-6)
    marks, path, before = [], "", None
    for segment in sorted(segments, key=lambda s: s.start_s):
        prediction = segment.prediction
        x, w = left + segment.start_s * per_second, max(2.0, (segment.end_s - segment.start_s) * per_second)
        when = f"{format_span(segment)}, {lane}"
        anchor = f"s{numbers[id(segment)]}"
        if scale not in prediction.values:
            tip = f"{when}: no answer ({prediction.reason})"
            shown = "no answer" if w > 66 else ""
            marks.append(Mark(False, round(x, 1), round(w, 1), y, 0.0, shown, y + _FIELD / 2 + 4, anchor, tip))
            continue
        value = prediction.values[scale]
        at = _height(value, ends, y)
        low, high = (_height(end, ends, y) for end in prediction.intervals.get(scale, (value, value)))
        digits = format_value(value, ends)
        joined = before is not None and segment.start_s - before <= _JOIN_S
        path += f"{'L' if joined else 'M'}{x:.1f} {at:.1f}H{x + w:.1f}"
        before = segment.end_s
        marks.append(Mark(
            answered=True, x=round(x, 1), width=round(w, 1), top=round(high, 1), height=round(low - high, 1),
            digits=digits if w > 10 * len(digits) else "",
            digits_y=round(at - 5 if at - 5 - _DIGIT > y else at + _DIGIT + 3, 1),
            anchor=anchor, tip=f"{when}: {scale} {format_with_interval(scale, prediction, ends)}",
        ))  # fmt: skip
    return Curve(scale, colour, y, _FIELD, path, _digits(ends), tuple(marks))


def _digits(ends: tuple[float, float]) -> tuple[str, str]:
    """The highest and the lowest value of a scale."""
    return f"{ends[1]:g}", f"{ends[0]:g}"


def _share(value: float, ends: tuple[float, float]) -> float:
    return (value - ends[0]) / (ends[1] - ends[0])


def _height(value: float, ends: tuple[float, float], y: float) -> float:
    return y + _FIELD * (1 - _share(value, ends))
