"""Scores of values on scales such as valence and arousal. Variances are of the population (divided by n).

Both correlations first take the distances from one of the items, which are exact where all values are nearly equal, and
divide them by the largest: then no mean rounds a difference away, and no square underflows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Absent, ArrayLike, Floats, as_floats, mean_over_labels, metric, same_length

#: Values beyond this are no emotion on a scale, and differences of the largest floats overflow.
LARGEST = 1e100


def concordance(preds: ArrayLike, target: ArrayLike) -> float:
    """Concordance correlation (CCC), -1..1, higher is better: ``2 cov / (var_p + var_t + (mean_p - mean_t)^2)``.

    Unlike Pearson's, it is lower for predictions that are shifted or stretched (Lin 1989, with variances
    divided by n; torchmetrics divides them by n - 1). 0 where one side alone is constant.

    Args:
        preds: values, ``(n,)``.
        target: values, ``(n,)``.

    Raises:
        EvaluationError: when all values of both are one and the same (0 / 0), lengths differ, or a value is not finite
            or beyond 1e100.

    Example:
        >>> concordance([1, 2, 3], [1, 2, 3]), round(concordance([2, 3, 4], [1, 2, 3]), 3)
        (1.0, 0.571)
    """
    predicted, true = scale_pair(preds, target)
    away = np.stack((predicted - predicted[0], true - true[0], predicted - true))
    largest = np.abs(away).max()
    if largest == 0:
        raise EvaluationError("all values are one and the same, so concordance is undefined",
                              remedy="Score items whose values differ.")  # fmt: skip
    away /= largest
    gap = away[2].mean()
    a, b = away[0] - away[0].mean(), away[1] - away[1].mean()
    return float(np.clip(2 * (a * b).mean() / ((a * a).mean() + (b * b).mean() + gap**2), -1.0, 1.0))


def pearson(preds: ArrayLike, target: ArrayLike) -> float:
    """Pearson correlation, -1..1, higher is better: ``cov / sqrt(var_p var_t)`` (Pearson 1895).

    It does not see a shift or a stretch of the predictions.

    Args:
        preds: values, ``(n,)``.
        target: values, ``(n,)``.

    Raises:
        EvaluationError: when either side is constant (so with one item, too), lengths differ, or a value is not finite
            or beyond 1e100.

    Example:
        >>> round(pearson([2, 3, 4], [1, 2, 3]), 3)
        1.0
    """
    predicted, true = scale_pair(preds, target)
    for what, values in (("predictions", predicted), ("targets", true)):
        if np.ptp(values) == 0:
            raise EvaluationError(f"{what} are constant, which has no correlation",
                                  remedy="Score items whose values differ, or use mean_absolute_error.")  # fmt: skip
    a, b = _deviations(predicted), _deviations(true)
    return float(np.clip((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()), -1.0, 1.0))


def mean_absolute_error(preds: ArrayLike, target: ArrayLike) -> float:
    """Mean distance (MAE) in the scale's own units, 0 and above, lower is better. Always defined.

    Large errors weigh no more than their size (Willmott and Matsuura 2005).

    Args:
        preds: values, ``(n,)``.
        target: values, ``(n,)``.

    Raises:
        EvaluationError: when lengths differ, or a value is not finite or beyond 1e100.

    Example:
        >>> mean_absolute_error([1.0, 2.0], [1.5, 2.5])
        0.5
    """
    predicted, true = scale_pair(preds, target)
    return float(np.abs(predicted - true).mean())


def scale_pair(preds: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    """Values of one scale, ``(n,)`` each; raises EvaluationError as the scores here do."""
    predicted, true = as_floats(preds, "predictions", 1), as_floats(target, "targets", 1)
    same_length(predicted, true)
    for what, values in (("prediction", predicted), ("target", true)):
        if (far := np.flatnonzero(np.abs(values) > LARGEST)).size:
            raise EvaluationError(f"the {what} {values[far[0]]:g} is beyond {LARGEST:g}", item=f"item {far[0]}",
                                  remedy="Give values in the units of their scale.")  # fmt: skip
    return predicted, true


def _deviations(values: Floats) -> Floats:
    """Distances from the mean, on a scale on which the largest is about 1."""
    away = values - values[0]
    away /= np.abs(away).max()
    return np.asarray(away - away.mean())


def labelled(values: Floats, target: Floats) -> list[tuple[Floats, Floats]]:
    """For each column its predictions and targets, ``(n,)``, without the items that have no target (NaN)."""
    known = ~np.isnan(target)
    return [(values[known[:, i], i], target[known[:, i], i]) for i in range(target.shape[1])]


def _mean_over_scales(
    score: Callable[[Floats, Floats], float], values: Floats, target: NDArray[Any], absent: Absent
) -> float:
    predicted, true = as_floats(values, "predictions", 2), as_floats(target, "targets", 2, missing=True)
    if predicted.shape != true.shape:
        raise EvaluationError(f"predictions {predicted.shape} and targets {true.shape} differ in shape",
                              remedy="Give one column for each scale and one row for each item.")  # fmt: skip
    scores: list[float | None] = []
    for scale, (own, wanted) in enumerate(labelled(predicted, true)):
        if not len(wanted):
            scores.append(None)
            continue
        try:
            scores.append(score(own, wanted))
        except EvaluationError as error:
            item = f"scale {scale}" if error.item is None else f"scale {scale}, {error.item}"
            raise EvaluationError(error.problem, item=item, remedy=error.remedy) from error
    return mean_over_labels(scores, absent, "have no value")


@metric("mean_ccc", "dimensional", -1.0, 1.0)
def _mean_ccc(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over scales of concordance."""
    return _mean_over_scales(concordance, values, target, absent)


@metric("mean_pearson", "dimensional", -1.0, 1.0)
def _mean_pearson(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over scales of Pearson correlation."""
    return _mean_over_scales(pearson, values, target, absent)


@metric("mean_mae", "dimensional", 0.0, float("inf"), higher_is_better=False)
def _mean_mae(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over scales of the mean absolute error, in the scales' units."""
    return _mean_over_scales(mean_absolute_error, values, target, absent)
