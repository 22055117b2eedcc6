"""Scores of values on scales such as valence and arousal. Variances are of the population (divided by n)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Absent, ArrayLike, Floats, as_floats, metric


def concordance(preds: ArrayLike, target: ArrayLike) -> float:
    """Concordance correlation (CCC), -1..1: ``2 cov / (var_p + var_t + (mean_p - mean_t)^2)`` (Lin 1989).

    Args:
        preds: values, ``(n,)``.
        target: values, ``(n,)``.

    Raises:
        EvaluationError: when both are constant and equal (0 / 0), or shapes differ.
    """
    said, true = _pair(preds, target)
    below = said.var() + true.var() + (said.mean() - true.mean()) ** 2
    if below == 0:
        raise EvaluationError("all values are one and the same, so concordance is undefined")
    return float(2 * _covariance(said, true) / below)


def pearson(preds: ArrayLike, target: ArrayLike) -> float:
    """Pearson correlation, -1..1; raises EvaluationError when either side is constant, or shapes differ."""
    said, true = _pair(preds, target)
    if np.ptp(said) == 0 or np.ptp(true) == 0:
        raise EvaluationError("constant values have no correlation")
    below = float(np.sqrt(said.var() * true.var()))
    if below == 0:
        raise EvaluationError("values differ too little for a correlation")
    return float(np.clip(_covariance(said, true) / below, -1.0, 1.0))


def mean_absolute_error(preds: ArrayLike, target: ArrayLike) -> float:
    """Mean distance in the scale's own units, 0 and above; raises EvaluationError when shapes differ."""
    said, true = _pair(preds, target)
    return float(np.abs(said - true).mean())


def _pair(preds: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    said, true = as_floats(preds, "predictions", 1), as_floats(target, "targets", 1)
    if said.shape != true.shape:
        raise EvaluationError(f"{len(said)} predictions for {len(true)} targets")
    return said, true


def _covariance(a: Floats, b: Floats) -> float:
    return float(((a - a.mean()) * (b - b.mean())).mean())


def _columns(values: Floats, target: NDArray[Any]) -> list[tuple[Floats, Floats]]:
    said, true = as_floats(values, "predictions", 2), as_floats(target, "targets", 2)
    if said.shape != true.shape:
        raise EvaluationError(f"predictions {said.shape} and targets {true.shape} differ in shape")
    return [(said[:, i], true[:, i]) for i in range(said.shape[1])]


@metric("mean_ccc", "dimensional", -1.0, 1.0)
def _mean_ccc(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over scales of concordance."""
    return float(np.mean([concordance(a, b) for a, b in _columns(values, target)]))


@metric("mean_pearson", "dimensional", -1.0, 1.0)
def _mean_pearson(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over scales of Pearson correlation."""
    return float(np.mean([pearson(a, b) for a, b in _columns(values, target)]))


@metric("mean_mae", "dimensional", 0.0, float("inf"), higher_is_better=False)
def _mean_mae(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over scales of the mean absolute error, in the scales' units."""
    return float(np.mean([mean_absolute_error(a, b) for a, b in _columns(values, target)]))
