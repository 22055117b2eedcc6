"""Scores of a report as a model card lists them."""

from __future__ import annotations

from maeum.evaluation.report import Report
from maeum.models.card import Score


def card_scores(report: Report, data: str) -> tuple[Score, ...]:
    """A report's scores as a model card lists them."""
    return tuple(
        Score(
            name=name,
            data=data,
            value=round(score.value, 4),
            low=None if score.interval is None else round(score.interval.low, 4),
            high=None if score.interval is None else round(score.interval.high, 4),
            items=report.items,
            speakers=report.groups,
            overlap=report.overlap or "",
        )
        for name, score in report.scores.items()
    )
