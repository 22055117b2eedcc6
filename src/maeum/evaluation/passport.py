"""A score's passport: everything that must be known to read it rightly, in one record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from maeum.evaluation.base import METRICS

if TYPE_CHECKING:
    from maeum.evaluation.report import Report


@dataclass(frozen=True)
class Provenance:
    """Where a report's predictions come from.

    model: its name. weights: hash of its weights. data, part: the corpus, and what of it. split: how its parts were
    made, and how large they are. data_hash: of the scored items and their targets. trained_on: what the model saw.
    seeds: of the training. settings: the training's recipe, where it is known. versions: of the programs. licence: of
    the weights.
    """

    model: str
    weights: str
    data: str
    part: str
    split: str
    data_hash: str
    licence: str
    trained_on: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: Mapping[str, Any] | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


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
            "interval": None if score.interval is None else asdict(score.interval),
            "interval_over": report.interval_over,
            "majority": report.majority.get(name),
            "chance": report.chance.get(name),
            "items": report.items,
            "groups": report.groups,
            "decision": report.decided_for(name),
            "overlap": report.overlap,
            "notes": list(report.notes),
            "provenance": about,
        }
        for name, score in report.scores.items()
    ]


def _finite(bound: float) -> float | None:
    """JSON knows no infinity."""
    return bound if abs(bound) != float("inf") else None
