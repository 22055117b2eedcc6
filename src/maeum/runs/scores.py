"""Scores of a report as a model card lists them, and what a reader of the card has to know of them."""

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


def card_notes(report: Report, data: str) -> tuple[str, ...]:
    """Notes for a model card on the scores of a report."""
    return (f"{data}: {report.speakers_warning}",) if report.speakers_warning else ()
