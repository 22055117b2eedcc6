"""HTML: a report with the timeline drawn, one file without scripts or requests, for screens and for paper."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from maeum import __version__
from maeum.analysis.formatting import (
    MEANING,
    MODALITY_NAMES,
    format_face,
    format_percent,
    format_span,
    format_time,
    shortened,
)
from maeum.analysis.palette import NO_ANSWER, colours, ink_on
from maeum.analysis.terminal import lanes_of
from maeum.analysis.writers.base import WRITERS, Writer
from maeum.analysis.writers.html_curves import (
    CurveLane,
    Reading,
    bottom_of,
    curve_lanes,
    own_values,
    portrait_of,
    readings,
)
from maeum.models.card import ModelCard, Score
from maeum.types import MODALITIES, Segment, Timeline
from maeum.visible import visible

#: Geometry of the drawn timeline, in SVG units (pixels at full width).
_LEFT, _LANE, _BLOCK, _HEAD, _TOP, _WIDTH = 132, 64, 54, 22, 8, 1080
#: A long recording is drawn wider, and scrolls, so that a second keeps this many units.
_PER_SECOND = 8.0
_LETTER = 8.0


@dataclass(frozen=True)
class Block:
    """A segment in the drawn timeline: the label above a field whose filled height is the confidence."""

    x: float
    y: float
    width: float
    level: float
    filled: float
    colour: str
    label: str
    anchor: str
    tip: str


@dataclass(frozen=True)
class Lane:
    """A row of the drawn timeline."""

    name: str
    y: float
    portrait: str | None
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Bar:
    """A stacked bar of probabilities, fused or of one modality. weight: how much that modality counted."""

    name: str
    weight: str
    parts: tuple[tuple[str, float, str, str], ...]  # label, percent, colour, ink
    top: str
    alt: str


@dataclass(frozen=True)
class Card:
    """A segment with its texts, bars and picture."""

    anchor: str
    when: str
    who: str
    face: int | None
    text: str | None
    label: str | None
    confidence: str
    colour: str
    ink: str
    bars: tuple[Bar, ...]
    readings: tuple[Reading, ...]
    own: tuple[str, ...]
    notes: tuple[str, ...]


def render_html(timeline: Timeline, card: ModelCard | None = None) -> str:
    """The HTML report of a timeline.

    Args:
        timeline: what to show.
        card: the model's card; its licence, data and scores are shown with it.

    Returns:
        A whole HTML document. All texts from outside are escaped, and signs in them that are not seen are shown.
    """
    tones = {} if timeline.scales else colours(timeline.labels)
    portraits = {t.id: _data_uri(t.thumbnail_png) for t in timeline.tracks}
    width = max(float(_WIDTH), _LEFT + timeline.duration_s * _PER_SECOND)
    numbers = {id(s): i for i, s in enumerate(timeline.segments, start=1)}
    segments_of_lanes = lanes_of(timeline)
    lanes: Sequence[Lane | CurveLane]
    if timeline.scales:
        lanes = curves = curve_lanes(timeline, segments_of_lanes, portraits, numbers, _LEFT, width)
        bottom = bottom_of(curves)
    else:
        lanes = [
            _lane(i, name, segments, timeline.duration_s, width, tones, portraits, numbers)
            for i, (name, segments) in enumerate(segments_of_lanes)
        ]
        bottom = _TOP + len(lanes) * _LANE
    page = _template().render(
        title=Path(timeline.source).name,
        timeline=timeline,
        version=__version__,
        width=round(width),
        block=_BLOCK,
        head=_HEAD,
        bottom=bottom,
        height=bottom + 28,
        lanes=lanes,
        ticks=_ticks(timeline.duration_s, width),
        legend=[(label, tones[label], ink_on(tones[label])) for label in tones],
        no_answer=NO_ANSWER,
        measured_spread=any(s.prediction.intervals for s in timeline.segments),
        spent=_time_spent(timeline, tones),
        portraits=portraits,
        cards=[_card(i, s, tones, timeline.scales) for i, s in enumerate(timeline.segments, start=1)],
        duration=format_time(timeline.duration_s),
        meaning=MEANING,
        model=card,
        size=_size(card.bytes) if card else "",
        measures=tuple(dict.fromkeys(s.name for s in card.scores)) if card else (),
        measured=_measured(card) if card else {},
    )
    return visible(page)


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("maeum.analysis.writers"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"format_percent": format_percent, "shortened": shortened}
    return environment.get_template("report.html.j2")


def _lane(
    index: int,
    name: str,
    segments: Sequence[Segment],
    duration_s: float,
    width: float,
    tones: dict[str, str],
    portraits: dict[int, str | None],
    numbers: dict[int, int],
) -> Lane:
    scale = (width - _LEFT) / max(duration_s, 1e-6)
    y = _TOP + index * _LANE + (_LANE - _BLOCK) / 2
    blocks = []
    for segment in segments:
        prediction = segment.prediction
        x, w = _LEFT + segment.start_s * scale + 1, max(3.0, (segment.end_s - segment.start_s) * scale - 2)
        label = prediction.label or "no answer"
        confidence = prediction.confidence if prediction.label else 0.0
        known = f"{label} {format_percent(confidence)}" if prediction.label else label
        filled = (_BLOCK - _HEAD) * confidence
        blocks.append(Block(
            x=round(x, 1), y=y, width=round(w, 1), level=round(y + _BLOCK - filled, 1), filled=round(filled, 1),
            colour=tones[prediction.label] if prediction.label else NO_ANSWER,
            label=_fitting(label, known, w),
            anchor=f"s{numbers[id(segment)]}",
            tip=f"{format_span(segment)}, {name}: {known if prediction.label else f'{label} ({prediction.reason})'}",
        ))  # fmt: skip
    return Lane(name, y, portrait_of(segments, portraits), tuple(blocks))


def _fitting(short: str, long: str, width: float) -> str:
    """The longest of the two texts that fits, or nothing."""
    return next((text for text in (long, short) if len(text) * _LETTER + 12 <= width), "")


def _ticks(duration_s: float, width: float) -> list[tuple[float, str]]:
    """About eight round times along the axis."""
    if duration_s <= 0:
        return [(_LEFT, format_time(0))]
    rough = duration_s / max(4.0, (width - _LEFT) / 130)
    step = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600) if s >= rough), 1800.0)
    count = math.floor(duration_s / step + 1e-9)
    return [(_LEFT + i * step / duration_s * (width - _LEFT), format_time(i * step)) for i in range(count + 1)]


def _time_spent(timeline: Timeline, tones: dict[str, str]) -> list[tuple[str, float, str, str]]:
    """How much of the answered time each label has, largest first: label, percent, colour, ink."""
    seconds = dict.fromkeys(tones, 0.0)
    for segment in timeline.segments:
        if segment.prediction.label:
            seconds[segment.prediction.label] += segment.end_s - segment.start_s
    total = sum(seconds.values())
    ranked = sorted(((s, label) for label, s in seconds.items() if s > 0), reverse=True)
    return [(label, 100 * s / total, tones[label], ink_on(tones[label])) for s, label in ranked]


def _card(number: int, segment: Segment, tones: dict[str, str], scales: Mapping[str, tuple[float, float]]) -> Card:
    prediction = segment.prediction
    who = [segment.speaker] if segment.speaker else []
    who += [format_face(segment.face)] if segment.face else []
    colour = tones[prediction.label] if prediction.label else NO_ANSWER
    own = [(MODALITY_NAMES[m], prediction.modalities[m]) for m in MODALITIES if m in prediction.modalities]
    bars = []
    if (own or prediction.answered) and not scales:  # some networks predict nothing from one modality alone
        bars = [_bar(f"{own[0][0]} alone" if len(own) == 1 else "together", "", prediction.probs, tones)]
        if len(own) > 1:
            bars += [_bar(name, format_percent(opinion.share), opinion.probs, tones) for name, opinion in own]
    return Card(
        anchor=f"s{number}",
        when=format_span(segment),
        who=", ".join(who),
        face=segment.face,
        text=segment.text,
        label=prediction.label,
        confidence=format_percent(prediction.confidence),
        colour=colour,
        ink=ink_on(colour),
        bars=tuple(bars),
        readings=readings(prediction, scales),
        own=own_values(prediction, scales) if scales else (),
        notes=tuple(n for n in (prediction.reason, *prediction.notes) if n),
    )


def _bar(name: str, weight: str, probs: object, tones: dict[str, str]) -> Bar:
    assert isinstance(probs, dict)
    ranked = sorted(probs.items(), key=lambda pair: -pair[1])
    total = sum(probs.values()) or 1.0
    return Bar(
        name=name,
        weight=weight,
        parts=tuple((label, 100 * p / total, tones[label], ink_on(tones[label])) for label, p in ranked if p >= 0.005),
        top=f"{ranked[0][0]} {format_percent(ranked[0][1])}",
        alt=", ".join(f"{label} {format_percent(p)}" for label, p in ranked),
    )


def _measured(card: ModelCard) -> dict[str, dict[str, Score]]:
    """Scores by what they were measured on, then by their name."""
    measured: dict[str, dict[str, Score]] = {}
    for score in card.scores:
        measured.setdefault(score.data, {})[score.name] = score
    return measured


def _data_uri(png: bytes | None) -> str | None:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}" if png else None


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"


WRITERS.register("html")(Writer(".html", "a report with the timeline drawn, for people", render_html))
