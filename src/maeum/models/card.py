"""What a user must know about a trained model: its data, licence, scores and limits."""

from __future__ import annotations

from maeum.config import Config
from maeum.types import Modality


class Score(Config):
    """One measured number of a model card. overlap: what its items share with the training items, where any."""

    name: str
    data: str
    value: float
    low: float | None = None
    high: float | None = None
    items: int | None = None
    speakers: int | None = None
    overlap: str = ""


class ModelCard(Config):
    """What a user must know about a trained model before using it."""

    name: str
    title: str
    licence: str
    non_commercial: bool
    parameters: int
    bytes: int = 0
    data: tuple[str, ...] = ()
    modalities: tuple[Modality, ...] = ()
    labels: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    notes: tuple[str, ...] = ()
    """On the scores, such as that they are of few speakers."""
    intended_use: str = ""
    limits: str = ""


def markdown(card: ModelCard) -> str:
    """The card as a page of its own, for people."""
    notes = "".join(f"\n- {note}" for note in card.notes) + ("\n" if card.notes else "")
    use = "**Non-commercial use only.** " if card.non_commercial else ""
    rows = "\n".join(_row(score) for score in card.scores) or "| none measured | | | |"
    return f"""# {card.title}

{use}Licence: {card.licence}

{card.parameters:,} parameters, {card.bytes / 1e6:.1f} MB of weights.
Reads {", ".join(card.modalities) or "nothing"}; answers {", ".join(card.labels)}.

## Trained on

{chr(10).join(f"- {item}" for item in card.data) or "- not stated"}

## Scores

| score | on | value (95 % interval) | items, speakers |
|---|---|---|---|
{rows}
{notes}
## Intended use

{card.intended_use or "Not stated."}

## Limits

{card.limits or "Not stated."}
"""


def _row(score: Score) -> str:
    interval = "" if score.low is None or score.high is None else f" ({score.low:.3f} to {score.high:.3f})"
    count = ", ".join(str(n) for n in (score.items, score.speakers) if n is not None)
    data = f"{score.data}; {score.overlap}" if score.overlap else score.data
    return f"| {score.name} | {data} | {score.value:.3f}{interval} | {count} |"
