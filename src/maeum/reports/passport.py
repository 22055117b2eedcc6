"""A score's passport: everything that must be known to read it rightly, in one record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from maeum.evaluation.base import METRICS
from maeum.evaluation.intervals import METHOD
from maeum.evaluation.report import Report


def passports(report: Report) -> list[dict[str, Any]]:
    """One JSON-able record for each score of a report; None where something is unknown or undefined."""
    about = None if report.provenance is None else asdict(report.provenance)
    return [
        {
            "score": name,
            "definition": METRICS[name].definition,
            "range": [_finite(METRICS[name].low), _finite(METRICS[name].high)],
            "higher_is_better": METRICS[name].higher_is_better,
            "value": score.value,
            "interval": None if score.interval is None else asdict(score.interval) | {"method": METHOD},
            "interval_over": report.interval_over,
            "majority": report.majority.get(name),
            "chance": report.chance.get(name),
            "items": report.items,
            "groups": report.groups,
            "decision": report.decision_of(name),
            "overlap": report.overlap,
            "notes": [*filter(None, (report.speakers_warning,)), *report.notes],
            "provenance": about,
        }
        for name, score in report.scores.items()
    ]


def _finite(bound: float) -> float | None:
    """JSON knows no infinity."""
    return bound if abs(bound) != float("inf") else None
