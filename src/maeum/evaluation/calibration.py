"""Whether an answer means what it says: the temperature of probabilities, and how far values on scales are off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.evaluation.base import (
    Absent,
    ArrayLike,
    Floats,
    as_classes,
    as_floats,
    as_probabilities,
    metric,
    same_length,
)
from maeum.evaluation.dimensional import labelled

#: The share of dev items whose value is within the margin of a scale.
INSIDE = 0.9
#: Equal-width bins of top-label confidence in `expected_calibration_error`.
BINS = 15
_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.05, 20.0
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def fit_margins(values: ArrayLike, target: ArrayLike) -> tuple[float | None, ...]:
    """For each scale the distance from a predicted value within which the true one is for 90 % of new items.

    Split conformal prediction (Lei et al. 2018, section 2.2): of n dev items the ``ceil(0.9 (n + 1))``-th smallest
    absolute error. This holds whatever the errors' distribution is, for items that are drawn like the dev items; those
    of speakers who are unlike the dev speakers may be further off.

    Args:
        values: predictions for dev items, ``(n, scales)``.
        target: ``(n, scales)``, NaN where an item has no value.

    Returns:
        In the units of the scales; None for a scale with fewer than 9 items, of which no margin can be had.

    Raises:
        EvaluationError: when shapes differ, or a value is not finite.

    Example:
        >>> fit_margins([[3.0]] * 9, [[3.5]] * 9)
        (0.5,)
    """
    preds, true = as_floats(values, "values", 2), as_floats(target, "targets", 2, missing=True)
    same_length(preds, true)
    margins: list[float | None] = []
    for values_of, wanted in labelled(preds, true):
        rank = math.ceil(INSIDE * (len(wanted) + 1) - 1e-9)
        margins.append(float(np.sort(np.abs(values_of - wanted))[rank - 1]) if rank <= len(wanted) else None)
    return tuple(margins)


@dataclass(frozen=True)
class ReliabilityBin:
    """Items whose confidence is in (low, high]. confidence, accuracy: their means; None in an empty bin."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def reliability(probs: ArrayLike, target: ArrayLike, bins: int = BINS) -> list[ReliabilityBin]:
    """Confidence against accuracy of the most probable class, in equal-width bins (low, high] of confidence.

    Args:
        probs: ``(n, classes)``, rows that sum to 1.
        target: true classes, ``(n,)``.
        bins: how many.

    Raises:
        EvaluationError: when rows are not probabilities, or lengths differ.

    Example:
        >>> [bin.count for bin in reliability([[0.9, 0.1], [0.6, 0.4]], [0, 1], bins=2)]
        [0, 2]
    """
    p, true = as_probabilities(probs, target)
    confidence, right = p.max(1), p.argmax(1) == true
    place = np.clip(np.searchsorted(np.arange(bins + 1) / bins, confidence) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins).tolist()
    confidences = np.bincount(place, confidence, minlength=bins).tolist()
    hits = np.bincount(place, right, minlength=bins).tolist()
    return [
        ReliabilityBin(i / bins, (i + 1) / bins, n, confidences[i] / n if n else None, hits[i] / n if n else None)
        for i, n in enumerate(counts)
    ]


def expected_calibration_error(probs: ArrayLike, target: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error, 0..1, lower is better: the mean of ``|accuracy - confidence|`` of the items' bins.

    Top-label confidence, 15 equal-width bins (low, high], empty bins count nothing (Naeini et al. 2015; Guo et al.
    2017, equation 3). Always defined. It is above 0 by chance alone, more so with few items.

    Raises:
        EvaluationError: see `reliability`.

    Example:
        >>> round(expected_calibration_error([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 3)
        0.3
    """
    table = reliability(probs, target, bins)
    total = sum(b.count for b in table)
    return sum(
        b.count * abs(b.accuracy - b.confidence) for b in table if b.accuracy is not None and b.confidence is not None
    ) / total  # fmt: skip


def brier(probs: ArrayLike, target: ArrayLike) -> float:
    """Brier score, 0..2, lower is better: the mean squared distance between probabilities and the one-hot truth.

    Summed over classes (Brier 1950), so it is twice what some libraries give for two classes. Always defined.

    Raises:
        EvaluationError: see `reliability`.

    Example:
        >>> round(brier([[0.8, 0.2]], [0]), 3)
        0.08
    """
    p, true = as_probabilities(probs, target)
    return float(np.maximum((p**2).sum(1) - 2 * p[np.arange(len(p)), true] + 1, 0).mean())


def negative_log_likelihood(logits: ArrayLike, target: ArrayLike, temperature: float = 1.0) -> float:
    """Mean of ``-log p(true class)`` in nats, with ``p = softmax(logits / temperature)``, computed in float64.

    Example:
        >>> round(negative_log_likelihood([[2.0, 0.0]], [0]), 3)
        0.127
    """
    z = as_floats(logits, "logits", 2) / temperature
    true = as_classes(target, "targets", z.shape[1])
    same_length(z, true)
    z = z - z.max(1, keepdims=True)
    return float((np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), true]).mean())


def fit_temperature(dev_logits: ArrayLike, dev_target: ArrayLike) -> float:
    """The temperature that makes ``softmax(logits / temperature)`` most likely (Guo et al. 2017).

    The likelihood has one optimum in 1 / temperature, found by golden section within 0.05..20.

    Args:
        dev_logits: of dev items, never of those that are scored, ``(n, classes)``.
        dev_target: their true classes, ``(n,)``.

    Raises:
        EvaluationError: when lengths differ, or logits are not finite.

    Example:
        >>> round(fit_temperature([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]], [0, 0, 1]), 2)
        5.77
    """
    low, high = math.log(_LOWEST_TEMPERATURE), math.log(_HIGHEST_TEMPERATURE)

    def cost(log_temperature: float) -> float:
        return negative_log_likelihood(dev_logits, dev_target, math.exp(log_temperature))

    a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    cost_a, cost_b = cost(a), cost(b)
    while high - low > 1e-7:
        if cost_a < cost_b:
            high, b, cost_b = b, a, cost_a
            a = high - _GOLDEN * (high - low)
            cost_a = cost(a)
        else:
            low, a, cost_a = a, b, cost_b
            b = low + _GOLDEN * (high - low)
            cost_b = cost(b)
    return math.exp((low + high) / 2)


@metric("ece", "single-label", 0.0, 1.0, higher_is_better=False)
def _ece_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Expected calibration error: top label, 15 equal-width bins."""
    return expected_calibration_error(probs, target)


@metric("brier", "single-label", 0.0, 2.0, higher_is_better=False)
def _brier_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Brier score: squared distance between probabilities and the truth."""
    return brier(probs, target)
