"""What a model gains by answering only when it is sure: the risk-coverage curve and its area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.evaluation.base import Absent, ArrayLike, Floats, as_probabilities, metric


@dataclass(frozen=True)
class RiskPoint:
    """Answering only items whose confidence is at least ``threshold``.

    coverage: the share of items that get an answer. risk: the share of these answers that is wrong.
    """

    threshold: float
    coverage: float
    risk: float


def risk_coverage(probs: ArrayLike, target: ArrayLike) -> list[RiskPoint]:
    """Error rate against share of items answered, both 0..1 (El-Yaniv and Wiener 2010); lower risk is better.

    Confidence is the highest probability; one point for each distinct confidence, from the highest. The last one
    answers everything, so its risk is ``1 - accuracy``. Always defined.

    Args:
        probs: ``(n, classes)``, rows that sum to 1.
        target: true classes, ``(n,)``.

    Raises:
        EvaluationError: when rows are not probabilities, a target is no class, or lengths differ.

    Example:
        >>> [(point.coverage, point.risk) for point in risk_coverage([[0.9, 0.1], [0.6, 0.4]], [0, 1])]
        [(0.5, 0.0), (1.0, 0.5)]
    """
    levels, counts, errors = _by_confidence(probs, target)
    answered, wrong = counts.cumsum(), errors.cumsum()
    rows = zip(levels.tolist(), (answered / answered[-1]).tolist(), (wrong / answered).tolist(), strict=True)
    return [RiskPoint(*row) for row in rows]


def area_under_risk_coverage(probs: ArrayLike, target: ArrayLike) -> float:
    """AURC, 0..1, lower is better: the mean over k = 1..n of the error rate among the k most confident items.

    Geifman et al. 2019. Equally confident items are taken in random order, of which this is the expected value, so the
    order of items does not matter. It is 0 only without errors: compare models of about the same accuracy. Confidence
    that says nothing has about ``1 - accuracy``. Always defined.

    Args:
        probs: ``(n, classes)``, rows that sum to 1.
        target: true classes, ``(n,)``.

    Raises:
        EvaluationError: see `risk_coverage`.

    Example:
        >>> area_under_risk_coverage([[0.9, 0.1], [0.6, 0.4]], [0, 1])
        0.25
    """
    _, counts, errors = _by_confidence(probs, target)
    losses = np.repeat(errors / counts, counts)
    return float((losses.cumsum() / np.arange(1, len(losses) + 1)).mean())


def _by_confidence(probs: ArrayLike, target: ArrayLike) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
    """Distinct confidences from the highest, how many items have each, and how many of these are wrong."""
    p, true = as_probabilities(probs, target)
    negated, which, counts = np.unique(-p.max(1), return_inverse=True, return_counts=True)
    return -negated, counts, np.bincount(which[p.argmax(1) != true], minlength=len(counts))


@metric("aurc", "single-label", 0.0, 1.0, higher_is_better=False)
def _aurc_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Area under the risk-coverage curve: mean error rate among the k most confident items, over all k."""
    return area_under_risk_coverage(probs, target)
