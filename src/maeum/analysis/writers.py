"""Timelines as files: JSON, CSV, subtitles, an HTML report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from maeum.analysis.report import render_html
from maeum.analysis.schema import to_dict
from maeum.analysis.words import clock, describe_face, in_a_row, percent
from maeum.errors import OutputError
from maeum.files import write_whole
from maeum.models.card import ModelCard
from maeum.registry import Registry
from maeum.types import MODALITIES, Segment, Timeline


@dataclass(frozen=True)
class Writer:
    """One format. suffix: of its files, with the dot. render: the file's text."""

    suffix: str
    title: str
    render: Callable[[Timeline, ModelCard | None], str]


WRITERS: Registry[Writer] = Registry("format", "maeum.writers")


def write_timeline(
    timeline: Timeline,
    folder: Path | str,
    formats: str | Iterable[str] = ("json",),
    *,
    card: ModelCard | None = None,
    stem: str | None = None,
    keep: Iterable[Path | str] = (),
) -> list[Path]:
    """Write a timeline in some formats; each file appears whole or not at all.

    The files are named after the recording, ``clip.json``; in the recording's own folder ``clip.emotions.json``, so
    that a subtitle file or a transcript beside it is never replaced.

    Args:
        timeline: what to write.
        folder: where; made if absent.
        formats: names in `WRITERS`: several, or one text with commas such as ``"html,json"``.
        card: the model's card, for formats that show it.
        stem: name of the files without the ending, instead of the recording's.
        keep: files that must not be replaced, such as the transcript.

    Returns:
        The paths written.

    Raises:
        OutputError: when the folder cannot be made, or a file cannot be written in full.
        ConfigError: on an unknown format.
    """
    folder, source = Path(folder), Path(timeline.source)
    names = formats.split(",") if isinstance(formats, str) else formats
    writers = [WRITERS[name.strip()] for name in names]
    written = []
    _make_folder(folder)
    for writer in writers:
        name = stem or source.stem
        if _same_place(folder, source.parent) or any(_same_place(folder / f"{name}{writer.suffix}", k) for k in keep):
            name = f"{name}.emotions"
        path = folder / f"{name}{writer.suffix}"
        write_whole(path, writer.render(timeline, card))
        written.append(path)
    return written


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder cannot be made ({error.strerror or error})", item=folder,
                          remedy="Choose another one with --out.") from error  # fmt: skip


def _same_place(a: Path | str, b: Path | str) -> bool:
    return Path(a).resolve() == Path(b).resolve()


def _json(timeline: Timeline, card: ModelCard | None) -> str:
    return json.dumps(to_dict(timeline, card), indent=2, ensure_ascii=False) + "\n"


def _csv(timeline: Timeline, card: ModelCard | None) -> str:
    """A row for each segment: times, who, words, the answer, and each modality's own."""
    table = io.StringIO()
    columns = ["source", "start_s", "end_s", "speaker", "face", "text"]
    if timeline.scales:
        columns += ["reason", "notes", *(f"v_{name}{end}" for name in timeline.scales for end in ("", "_low", "_high"))]
        for m in MODALITIES:
            columns += [f"{m}_share", *(f"{m}_v_{name}" for name in timeline.scales)]
    else:
        columns += ["label", "confidence", "reason", "notes", *(f"p_{label}" for label in timeline.labels)]
        for m in MODALITIES:
            columns += [f"{m}_label", f"{m}_share", *(f"{m}_p_{label}" for label in timeline.labels)]
    rows = csv.DictWriter(table, columns, lineterminator="\n")
    rows.writeheader()
    for s in timeline.segments:
        answer = s.prediction
        row: dict[str, object] = {
            "source": timeline.source, "start_s": f"{s.start_s:.3f}", "end_s": f"{s.end_s:.3f}", "speaker": s.speaker,
            "face": s.face, "text": s.text, "reason": answer.reason, "notes": "; ".join(answer.notes),
        }  # fmt: skip
        if not timeline.scales:
            row |= {"label": answer.label, "confidence": f"{answer.confidence:.4f}"}
        row |= {f"p_{label}": f"{p:.4f}" for label, p in answer.probs.items()}
        row |= {f"v_{name}": f"{value:.4f}" for name, value in answer.values.items()}
        for name, (low, high) in answer.intervals.items():
            row |= {f"v_{name}_low": f"{low:.4f}", f"v_{name}_high": f"{high:.4f}"}
        for m, opinion in answer.modalities.items():
            row |= {f"{m}_share": f"{opinion.share:.4f}"} | ({f"{m}_label": opinion.label} if opinion.label else {})
            row |= {f"{m}_p_{label}": f"{p:.4f}" for label, p in opinion.probs.items()}
            row |= {f"{m}_v_{name}": f"{value:.4f}" for name, value in opinion.values.items()}
        rows.writerow(row)
    return table.getvalue()


def _srt(timeline: Timeline, card: ModelCard | None) -> str:
    """Subtitles: what is expressed and how sure that is, or values on scales; with several faces one line each."""
    cues = []
    ordered = sorted(timeline.segments, key=lambda s: (s.start_s, s.end_s))
    for number, ((start, end), group) in enumerate(groupby(ordered, key=lambda s: (s.start_s, s.end_s)), start=1):
        lines = [_subtitle(s, timeline) for s in group]
        cues.append(f"{number}\n{clock(start, srt=True)} --> {clock(end, srt=True)}\n" + "\n".join(lines) + "\n")
    return "\n".join(cues)


def _subtitle(segment: Segment, timeline: Timeline) -> str:
    answer = segment.prediction
    if answer.label:
        says = f"{answer.label} {percent(answer.confidence)}"
    else:
        says = in_a_row(answer.values, timeline.scales) if answer.answered else f"no answer ({answer.reason})"
    who = segment.speaker or (describe_face(segment.face) if segment.face and len(timeline.tracks) > 1 else None)
    return " ".join(f"{who}: {says}".split()) if who else says


def _register(entries: Sequence[tuple[str, Writer]]) -> None:
    for name, writer in entries:
        WRITERS.register(name)(writer)


_register([
    ("json", Writer(".json", "everything, for programs", _json)),
    ("csv", Writer(".csv", "a row for each segment, for spreadsheets", _csv)),
    ("srt", Writer(".srt", "subtitles, for players", _srt)),
    ("html", Writer(".html", "a report with the timeline drawn, for people", render_html)),
])  # fmt: skip
