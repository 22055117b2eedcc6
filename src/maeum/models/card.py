"""What a user must know about a trained model: its data, licence, scores and limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from pydantic import Field

from maeum.config import Config
from maeum.types import Modality
from maeum.visible import markdown_cell, visible


class Score(Config):
    """One measured number of a model card."""

    name: str
    """Name of the metric."""
    data: str
    """Corpus, part and modalities that it was measured on."""
    value: float
    """The number."""
    low: float | None = None
    """Lower end of its 95 % confidence interval; null where none can be given."""
    high: float | None = None
    """Upper end of that interval."""
    items: int | None = None
    """Number of items it was measured on; null where it is not known."""
    speakers: int | None = None
    """Number of speakers of these items; null where they are not known."""
    overlap: str = ""
    """What these items share with the training items; empty where nothing."""


class BranchLicence(Config):
    """Under which licence one branch may be used by itself."""

    licence: str
    """Licence under which it may be used."""
    non_commercial: bool
    """Whether that licence excludes commercial use."""
    data: tuple[str, ...] = ()
    """What it was trained on, with licences."""


class ModelCard(Config):
    """What a user must know about a trained model before using it."""

    name: str
    """Name of the model."""
    title: str
    """What it is, in one line."""
    licence: str
    """Licence under which it may be used."""
    non_commercial: bool
    """Whether that licence excludes commercial use."""
    parameters: int
    """Number of parameters."""
    bytes: int = 0
    """Size of the weights' file."""
    data: tuple[str, ...] = ()
    """What it was trained on, with licences."""
    modalities: tuple[Modality, ...] = ()
    """What it reads."""
    labels: tuple[str, ...] = ()
    """What it predicts, in the order of its outputs."""
    scores: tuple[Score, ...] = ()
    """What was measured."""
    notes: tuple[str, ...] = ()
    """On the scores, such as that they are of few speakers."""
    intended_use: str = ""
    """What it is meant for."""
    limits: str = ""
    """What it must not be used for, or cannot do."""
    branches: dict[Modality, BranchLicence] = Field(default_factory=dict)
    """The licence of each branch by itself, where it was stated: loaded without the others, only these bind."""

    def of_branches(self, modalities: Sequence[Modality]) -> ModelCard:
        """The card of some branches, loaded without the others.

        The licence of the whole binds where theirs are not stated. Scores of other sets of modalities go, and the notes
        on them.
        """
        listed = tuple(m for m in self.modalities if m in modalities)
        names = {"+".join(some) for size in range(1, len(listed) + 1) for some in combinations(listed, size)}
        licences = [self.branches[m] for m in listed if m in self.branches]
        scores = tuple(score for score in self.scores if score.data.rpartition(", ")[2] in names)
        gone = {score.data for score in self.scores} - {score.data for score in scores}
        changes: dict[str, Any] = {
            "modalities": listed,
            "scores": scores,
            "notes": tuple(note for note in self.notes if note.partition(": ")[0] not in gone),
            "branches": {m: self.branches[m] for m in listed if m in self.branches},
        }
        if len(licences) == len(listed):
            changes |= {
                "licence": "; ".join(dict.fromkeys(one.licence for one in licences)),
                "non_commercial": any(one.non_commercial for one in licences),
                "data": tuple(dict.fromkeys(data for one in licences for data in one.data)),
            }
        return self.model_copy(update=changes)


def markdown(card: ModelCard) -> str:
    """The card as a page of its own, for people."""
    notes = "".join(f"\n- {note}" for note in card.notes) + ("\n" if card.notes else "")
    use = "**Non-commercial use only.** " if card.non_commercial else ""
    rows = "\n".join(_row(score) for score in card.scores) or "| none measured | | | |"
    page = f"""# {card.title}

{use}Licence: {card.licence}

{card.parameters:,} parameters, {card.bytes / 1e6:.1f} MB of weights.
Reads {", ".join(card.modalities) or "nothing"}; answers {", ".join(card.labels)}.

## Trained on

{chr(10).join(f"- {item}" for item in card.data) or "- not stated"}

{_branches(card)}## Scores

| score | on | value (95 % interval) | items, speakers |
|---|---|---|---|
{rows}
{notes}
## Intended use

{card.intended_use or "Not stated."}

## Limits

{card.limits or "Not stated."}
"""
    return visible(page)


def _branches(card: ModelCard) -> str:
    """What binds a user of one branch alone, as a section of the page; nothing where that is not stated."""
    if not card.branches:
        return ""
    lines = [
        f"- {m}: {'**non-commercial use only**, ' if alone.non_commercial else ''}{alone.licence}\n"
        for m, alone in card.branches.items()
    ]
    return f"""## A branch by itself

`maeum.load(modalities=[...])` and `maeum analyse --modalities ...` read one branch's weights without
the others'; only its own licence binds then.

{"".join(lines)}
"""


def _row(score: Score) -> str:
    interval = "" if score.low is None or score.high is None else f" ({score.low:.3f} to {score.high:.3f})"
    count = ", ".join(str(n) for n in (score.items, score.speakers) if n is not None)
    data = f"{score.data}; {score.overlap}" if score.overlap else score.data
    return f"| {markdown_cell(score.name)} | {markdown_cell(data)} | {score.value:.3f}{interval} | {count} |"
