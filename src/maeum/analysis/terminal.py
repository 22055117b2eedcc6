"""A timeline in the terminal: strips of the whole, then a line for each segment; readable without colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from maeum.analysis.formatting import (
    MODALITY_NAMES,
    format_face,
    format_percent,
    format_time,
    format_values,
    format_with_interval,
    shortened,
)
from maeum.analysis.palette import NO_ANSWER, colours, ink_on, line_colours
from maeum.models.card import ModelCard
from maeum.types import MODALITIES, Segment, Timeline
from maeum.wording import counted

_BAR = 10
_LEVELS = "▁▂▃▄▅▆▇█"
_NARROW, _MOST_WIDTH = 64, 110

Scales = Mapping[str, tuple[float, float]]


def show_timeline(timeline: Timeline, console: Console, card: ModelCard | None = None) -> None:
    """Print a timeline; fits 80 columns, and more where there is more room."""
    tones = line_colours(timeline.labels) if timeline.scales else colours(timeline.labels)
    console.print(_headline(timeline, card))
    lanes = lanes_of(timeline)
    answered = [s for s in timeline.segments if s.prediction.answered]
    if answered and timeline.duration_s > 0:
        room = min(console.width, _MOST_WIDTH)
        names = [f"  {scale}" for scale in timeline.scales] if timeline.scales else [name for name, _ in lanes]
        margin = min(max(map(len, names)), max(7, room // (4 if timeline.scales else 6))) + 2
        width = max(20, room - margin - 1)
        console.print()
        for name, segments in lanes:
            for head, strip in _lane(name, segments, timeline, width, tones):
                line = Text(f"{shortened(head, margin - 2):<{margin}}") + strip if strip else Text(head)
                console.print(line, no_wrap=True, overflow="crop")
        console.print(
            Text(" " * margin) + _axis(timeline.duration_s, width), style="dim", no_wrap=True, overflow="crop"
        )
    console.print()
    console.print(_table(timeline, tones, console.width))
    for note in timeline.notes:
        console.print(Text.assemble(("note: ", "bold"), note), style="dim", soft_wrap=False)


def lanes_of(timeline: Timeline) -> list[tuple[str, list[Segment]]]:
    """The segments by whose they are: each speaker or face one lane, and one for voices without a face."""
    lanes: dict[str, list[Segment]] = {}
    for track in timeline.tracks:
        lanes[format_face(track.id)] = []
    for segment in timeline.segments:
        lanes.setdefault(format_face(segment.face) if segment.face else (segment.speaker or "voice"), []).append(
            segment
        )
    return [(name, segments) for name, segments in lanes.items() if segments]


def _headline(timeline: Timeline, card: ModelCard | None) -> Text:
    parts = [
        format_time(timeline.duration_s),
        counted(len(timeline.segments), "segment"),
        counted(len(timeline.tracks), "face"),
        f"model {timeline.model}",
    ]
    line = Text.assemble((timeline.source, "bold"), "\n", (" · ".join(parts), "dim"))
    if card and card.non_commercial:
        line.append(" · ", "dim").append("non-commercial", "dim yellow")
    if timeline.recognizer:
        line.append(f"\nwords recognised by {timeline.recognizer} ({timeline.language}), which may be wrong", "dim")
    if timeline.scales:
        ends = ", ".join(f"{name} from {low:g} to {high:g}" for name, (low, high) in timeline.scales.items())
        line.append(f"\n{ends}", "dim")
    return line


def _lane(
    name: str, segments: list[Segment], timeline: Timeline, width: int, tones: dict[str, str]
) -> list[tuple[str, Text | None]]:
    """What stands before each line of a lane, and its strip: one of labels, or under its name one of each scale."""
    if not timeline.scales:
        return [(name, _strip(segments, timeline.duration_s, width, lambda s, w: _cell(s, w, tones)))]
    lines: list[tuple[str, Text | None]] = [(name, None)]
    for scale, ends in timeline.scales.items():

        def level(segment: Segment | None, width: int, scale: str = scale, ends: tuple[float, float] = ends) -> Text:
            return _level(segment, width, scale, ends, tones[scale])

        lines.append((f"  {scale}", _strip(segments, timeline.duration_s, width, level)))
    return lines


def _strip(segments: list[Segment], duration_s: float, width: int, cell: Callable[[Segment | None, int], Text]) -> Text:
    """The time from left to right; ``cell`` draws so many columns of a segment, or of none."""
    strip = Text()
    cells: list[Segment | None] = [None] * width
    for segment in segments:
        first = int(segment.start_s / duration_s * width)
        last = max(first + 1, round(segment.end_s / duration_s * width))
        cells[first:last] = [segment] * (min(last, width) - first)
    start = 0
    while start < width:
        end = start
        while end < width and cells[end] is cells[start]:
            end += 1
        strip.append_text(cell(cells[start], end - start))
        start = end
    return strip


def _cell(segment: Segment | None, width: int, tones: dict[str, str]) -> Text:
    if segment is None:
        return Text("·" * width, "dim")
    label = segment.prediction.label
    shown = f"▏{_fitting(label or '?', width - 1)}"  # the thin edge keeps neighbours of one emotion apart
    tone = tones[label] if label else NO_ANSWER
    return Text(f"{shown:<{width}}", Style(color=ink_on(tone), bgcolor=tone))


def _level(segment: Segment | None, width: int, scale: str, ends: tuple[float, float], tone: str) -> Text:
    """A value as the height of a block: the lowest eighth of its scale is ``▁``, the highest ``█``."""
    if segment is None or scale not in segment.prediction.values:
        return Text("·" * width if segment is None else "?" * width, "dim")
    share = (segment.prediction.values[scale] - ends[0]) / (ends[1] - ends[0])
    return Text(_LEVELS[min(int(share * len(_LEVELS)), len(_LEVELS) - 1)] * width, tone)


def _fitting(label: str, width: int) -> str:
    """A label, with a mark where it is cut; very short ones are the abbreviation that everybody would choose."""
    if len(label) <= width:
        return label
    return f"{label[: width - 1]}…" if width > 3 else label[:width]


def _axis(duration_s: float, width: int) -> Text:
    """Times under the strips: five where they fit, else three or two."""
    longest = len(format_time(duration_s)) + 1
    parts = next((parts for parts in (4, 2) if (parts + 1) * longest <= width), 1)
    marks = [" "] * width
    for part in range(parts + 1):
        text = format_time(duration_s * part / parts)
        at = min(max(0, round(width * part / parts - (len(text) / 2 if part else 0))), width - len(text))
        marks[at : at + len(text)] = text
    return Text("".join(marks))


def _table(timeline: Timeline, tones: dict[str, str], width: int) -> Table:
    """A row for each segment; in a narrow terminal the details go under the answer."""
    narrow = width < _NARROW
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False, width=min(width, _MOST_WIDTH), pad_edge=False)
    table.add_column(no_wrap=True, width=17)
    answers = [_answer(segment, timeline.scales, tones, narrow) for segment in timeline.segments]
    if not narrow:
        widest = max((len(line) for says in answers for line in says.plain.splitlines()), default=0)
        table.add_column(no_wrap=True, width=min(widest, width // 2) if timeline.scales else _BAR + 16)
    table.add_column(ratio=1)
    for segment, says in zip(timeline.segments, answers, strict=True):
        when = Text(f"{format_time(segment.start_s)} - {format_time(segment.end_s)}")
        details = _details(segment, timeline.scales, len(timeline.tracks))
        if narrow:
            table.add_row(when, Text("\n").join([says, details]))
        else:
            table.add_row(when, says, details)
    return table


def _answer(segment: Segment, scales: Scales, tones: dict[str, str], narrow: bool) -> Text:
    answer = segment.prediction
    if answer.values:
        longest = max(map(len, answer.values))
        return Text("\n").join(
            Text.assemble(
                (f"{name:<{longest}}", tones[name]), " ", (format_with_interval(name, answer, scales[name]), "bold")
            )
            for name in answer.values
        )
    if not answer.label:
        return Text("no answer", "dim")
    full = round(answer.confidence * _BAR)
    bar = Text.assemble(("█" * full, tones[answer.label]), ("░" * (_BAR - full), "dim"), " ")
    return Text.assemble("" if narrow else bar, (answer.label, "bold"), f" {format_percent(answer.confidence)}")


def _details(segment: Segment, scales: Scales, faces: int) -> Text:
    answer = segment.prediction
    text = Text()
    who = [segment.speaker] if segment.speaker else []
    if segment.face and faces > 1:
        who.append(format_face(segment.face))
    if who:
        text.append(", ".join(who) + "  ", "bold")
    if segment.text:
        text.append(f"“{segment.text}”", "italic")
    opinions = [
        f"{MODALITY_NAMES[m]} {format_values(answer.modalities[m].values, scales) or answer.modalities[m].label}"
        for m in MODALITIES
        if m in answer.modalities
    ]
    if segment.text and opinions:
        text.append("\n")
    if len(opinions) > 1:
        text.append(("\n" if scales else " · ").join(opinions), "dim")
    elif opinions:
        text.append(f"from the {MODALITY_NAMES[next(iter(answer.modalities))]} alone", "dim")
    for note in (answer.reason, *answer.notes):
        if note:
            text.append(("\n" if text else "") + note, "dim")
    return text
