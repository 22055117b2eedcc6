"""What was fitted to a trained model: temperatures, thresholds, margins, and prediction sets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maeum.config import Config
from maeum.models.caution import Caution
from maeum.types import MODALITIES, Modality


class Coverage(Config):
    """Prediction sets that hold the true label as often as required (`maeum.evaluation.conformal`)."""

    share: float = Field(ge=0.5, le=0.999)
    """The share of new clips whose set holds the true label."""
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """For each set of modalities the probability from which on a label is in the set."""
    new_people: bool
    """Whether that holds for clips of people who are not among those that it was fitted on."""
    data: str
    """The clips that it was fitted on: corpus, how many, of how many people."""

    @property
    def percent(self) -> str:
        """The share as people read it, which whole percent would overstate: ``90%``, ``99.9%``."""
        return f"{100 * self.share:g}%"

    @property
    def note(self) -> str:
        """What it promises, for a card."""
        whom = "of new people" if self.new_people else "of the same people"
        return (
            f"Prediction sets hold the true label of {self.percent} of new clips {whom} that are like those they were "
            f"fitted on ({self.data})."
        )


class Calibration(Config):
    """What was fitted on dev predictions."""

    temperatures: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Temperature of a single-label model for each set of modalities, such as ``faces+speech``."""
    thresholds: tuple[float, ...] | None = None
    """Of a multi-label model the probability of each label above which it applies; 0.5 for all when null."""
    margins: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    """Of a dimensional model, for each set of modalities and each scale, the distance from the predicted value within
    which the true one lies for 90 % of new items; null where there were too few items."""
    least_confidence: float = Field(default=0.0, ge=0, le=1)
    """Of a single-label model: below this it is not sure, and gives no label unless its user wants one."""
    caution: dict[Modality, Caution] = Field(default_factory=dict)
    """Of a single-label model of branches: those that are less sure about what is unlike their training data."""
    coverage: Coverage | None = None
    """Of a single-label model: its prediction sets, fitted on a user's own clips. It gives a label where its set has
    only one, whatever ``least_confidence`` is."""

    def temperature(self, present: tuple[Modality, ...]) -> float:
        """Temperature for a set of modalities; 1 where none was fitted."""
        return self.temperatures.get(subset_name(present), 1.0)


def subset_name(present: tuple[Modality, ...]) -> str:
    """``faces+speech`` for these modalities in any order."""
    return "+".join(m for m in MODALITIES if m in present)
