"""CSV: a row for each segment, for spreadsheets."""

from __future__ import annotations

import csv
import io

from maeum.analysis.writers.base import WRITERS, Writer
from maeum.models.card import ModelCard
from maeum.types import MODALITIES, Segment, Timeline
from maeum.visible import csv_cell, visible


def render_csv(timeline: Timeline, card: ModelCard | None) -> str:
    """A row for each segment: times, who, words, the prediction, and each modality's own.

    A text that a spreadsheet would run as a formula has a ``'`` before it. Numbers are left as they are.
    """
    table = io.StringIO()
    rows = csv.DictWriter(table, _columns(timeline), lineterminator="\n")
    rows.writeheader()
    for segment in timeline.segments:
        rows.writerow(_row(segment, timeline))
    return visible(table.getvalue())  # names of labels are in its columns


def _columns(timeline: Timeline) -> list[str]:
    columns = ["source", "start_s", "end_s", "speaker", "face", "text", "recognizer"]
    if timeline.scales:
        columns += ["reason", "notes", *(f"v_{name}{end}" for name in timeline.scales for end in ("", "_low", "_high"))]
        for m in MODALITIES:
            columns += [f"{m}_share", *(f"{m}_v_{name}" for name in timeline.scales)]
    else:
        columns += [
            "label",
            "confidence",
            "prediction_set",
            "reason",
            "notes",
            *(f"p_{label}" for label in timeline.labels),
        ]
        for m in MODALITIES:
            columns += [f"{m}_label", f"{m}_share", *(f"{m}_p_{label}" for label in timeline.labels)]
    return columns


def _row(segment: Segment, timeline: Timeline) -> dict[str, object]:
    prediction = segment.prediction
    row: dict[str, object] = {
        "source": _cell(timeline.source), "start_s": f"{segment.start_s:.3f}", "end_s": f"{segment.end_s:.3f}",
        "speaker": _cell(segment.speaker), "face": segment.face, "text": _cell(segment.text),
        "recognizer": _cell(timeline.recognizer) if segment.words else None,
        "reason": _cell(prediction.reason), "notes": _cell("; ".join(prediction.notes)),
    }  # fmt: skip
    if prediction.prediction_set is not None:
        row["prediction_set"] = _cell("; ".join(prediction.prediction_set))
    if not timeline.scales:
        row |= {"label": _cell(prediction.label), "confidence": f"{prediction.confidence:.4f}"}
    row |= {f"p_{label}": f"{p:.4f}" for label, p in prediction.probs.items()}
    row |= {f"v_{name}": f"{value:.4f}" for name, value in prediction.values.items()}
    for name, (low, high) in prediction.intervals.items():
        row |= {f"v_{name}_low": f"{low:.4f}", f"v_{name}_high": f"{high:.4f}"}
    for m, opinion in prediction.modalities.items():
        row |= {f"{m}_share": f"{opinion.share:.4f}"} | ({f"{m}_label": _cell(opinion.label)} if opinion.label else {})
        row |= {f"{m}_p_{label}": f"{p:.4f}" for label, p in opinion.probs.items()}
        row |= {f"{m}_v_{name}": f"{value:.4f}" for name, value in opinion.values.items()}
    return row


def _cell(text: str | None) -> str | None:
    return None if text is None else csv_cell(text)


WRITERS.register("csv")(Writer(".csv", "a row for each segment, for spreadsheets", render_csv))
