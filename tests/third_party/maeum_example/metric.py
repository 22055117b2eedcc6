"""A metric: the recall of the class that is found worst."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from maeum.evaluation.base import Absent, Floats, Metric
from maeum.evaluation.metrics import confusion_matrix


def worst_recall(probs: Floats, target: NDArray[Any], absent: Absent) -> float:
    """The least recall of all classes that have items."""
    matrix = confusion_matrix(probs.argmax(1), target, probs.shape[1])
    items = matrix.sum(1)
    return float((matrix.diagonal()[items > 0] / items[items > 0]).min())


WORST_RECALL = Metric(
    name="worst_recall",
    task="single-label",
    function=worst_recall,
    low=0.0,
    high=1.0,
    higher_is_better=True,
    definition="The least recall of all classes that have items.",
    judges="decisions",
)
