"""What a model answered about the items of one part, what is true of them, and where the answers come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from maeum.errors import EvaluationError
from maeum.wording import counted


@dataclass(frozen=True)
class PredictionSet:
    """Predictions of the items of one part.

    Raises:
        EvaluationError: when lengths differ, an id occurs twice, or an expected one is missing.
    """

    ids: tuple[str, ...]
    """Of the utterances."""
    logits: Tensor  # (items, labels)
    """Before softmax or sigmoid."""
    target: Tensor
    """As `LabelSet.encode` gives them, stacked."""
    groups: tuple[str | None, ...] | None = None
    """Each item's speaker (or recording), by which intervals are computed; None where unknown."""
    expected: tuple[str, ...] | None = None
    """All ids that must have a prediction, where known: one that is missing is an error, never a smaller n."""
    features: Tensor | None = None  # (items, d)
    """What the model made of each item before it answered; None when they were not kept."""

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.logits) == len(self.target):
            raise EvaluationError(f"{len(self.ids)} ids, {len(self.logits)} predictions and {len(self.target)} targets")
        if self.groups is not None and len(self.groups) != len(self.ids):
            raise EvaluationError(f"{len(self.ids)} ids and {len(self.groups)} groups")
        if len(set(self.ids)) < len(self.ids):
            repeated = Counter(self.ids).most_common(1)[0][0]
            raise EvaluationError("an utterance was predicted twice", item=repeated)
        if self.expected is not None:
            if missing := sorted(set(self.expected) - set(self.ids)):
                raise EvaluationError(f"no prediction for {counted(len(missing), 'utterance')}", item=missing[0],
                                      remedy="Predict every utterance, also one without faces.")  # fmt: skip
            if strange := sorted(set(self.ids) - set(self.expected)):
                raise EvaluationError("was predicted but is not among the expected utterances", item=strange[0])

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def speakers(self) -> set[str]:
        """The groups that are known."""
        return {group for group in self.groups or () if group is not None}


@dataclass(frozen=True)
class Provenance:
    """Where a report's predictions come from."""

    model: str
    """The model's name."""
    weights: str
    """Hash of its weights."""
    data: str
    """The corpus."""
    part: str
    """What of the corpus."""
    split: str
    """How its parts were made, and how large they are."""
    data_hash: str
    """Of the scored items and their targets."""
    licence: str
    """Of the weights."""
    trained_on: tuple[str, ...] = ()
    """What the model was trained on."""
    seeds: tuple[int, ...] = ()
    """Of the training."""
    settings: Mapping[str, Any] | None = None
    """The training's recipe, where it is known."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the programs."""
