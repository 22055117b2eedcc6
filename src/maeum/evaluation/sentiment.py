"""Scores of sentiment from -3 (highly negative) to 3 (highly positive), as CMU-MOSI and CMU-MOSEI have it.

Papers write Acc-7, Acc-5 and Acc-2 for accuracies of values made into classes, after the code published with Tsai et
al. 2019, and two different things are called Acc-2: each has its own name here. All are 0..1 and higher is better.
Targets have to be on the scale; predictions may be beyond it. Mean absolute error and correlation are in `dimensional`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Absent, ArrayLike, Floats, as_floats, metric
from maeum.evaluation.dimensional import scale_pair


def accuracy_7(preds: ArrayLike, target: ArrayLike) -> float:
    """Acc-7, 0..1, higher is better: values clipped to -3..3 and rounded are the same (Tsai et al. 2019).

    Halves round to the even class, as numpy does: 0.5 is 0, 1.5 and 2.5 are 2. Always defined.

    Args:
        preds: values, ``(n,)``.
        target: values in -3..3, ``(n,)``.

    Raises:
        EvaluationError: when lengths differ, a value is not finite, or a target is not in -3..3.

    Example:
        >>> round(accuracy_7([2.6, -0.4, 1.0], [3.0, 0.0, -1.0]), 3)
        0.667
    """
    return _same_class(preds, target, 3.0)


def accuracy_5(preds: ArrayLike, target: ArrayLike) -> float:
    """Acc-5, 0..1, higher is better: values clipped to -2..2 and rounded are the same; see `accuracy_7`.

    Example:
        >>> accuracy_5([2.6, -0.4], [1.8, 0.0])
        1.0
    """
    return _same_class(preds, target, 2.0)


def accuracy_2_nonnegative(preds: ArrayLike, target: ArrayLike) -> float:
    """Acc-2, negative or non-negative, 0..1, higher is better: both are below 0, or neither is (Zadeh et al. 2018).

    Every item counts; 0 is non-negative. Always defined.

    Args:
        preds: values, ``(n,)``.
        target: values in -3..3, ``(n,)``.

    Raises:
        EvaluationError: when lengths differ, a value is not finite, or a target is not in -3..3.

    Example:
        >>> accuracy_2_nonnegative([-0.1, 0.2], [-1.0, 0.0])
        1.0
    """
    predicted, true = _sentiment(preds, target)
    return float(((predicted < 0) == (true < 0)).mean())


def accuracy_2_nonzero(preds: ArrayLike, target: ArrayLike) -> tuple[float, int]:
    """Acc-2, negative or positive, 0..1, higher is better: both are above 0, or neither is (Tsai et al. 2019).

    Items whose target is 0 are left out and counted. A prediction of 0 counts as negative.

    Args:
        preds: values, ``(n,)``.
        target: values in -3..3, ``(n,)``.

    Returns:
        The accuracy, and how many items were left out.

    Raises:
        EvaluationError: when every target is 0, lengths differ, a value is not finite, or a target is not in -3..3.

    Example:
        >>> accuracy_2_nonzero([-0.1, 0.2], [-1.0, 0.0])
        (1.0, 1)
    """
    predicted, true = _sentiment(preds, target)
    scored = true != 0
    if not scored.any():
        raise EvaluationError(f"all {len(true)} targets are 0, so there is no positive or negative item",
                              remedy="Score other items, or use accuracy_2_nonnegative.")  # fmt: skip
    return float(((predicted > 0) == (true > 0))[scored].mean()), int((~scored).sum())


def _same_class(preds: ArrayLike, target: ArrayLike, end: float) -> float:
    predicted, true = _sentiment(preds, target)
    return float((predicted.clip(-end, end).round() == true.clip(-end, end).round()).mean())


def _sentiment(preds: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats]:
    predicted, true = scale_pair(preds, target)
    if (off := np.flatnonzero(np.abs(true) > 3)).size:
        raise EvaluationError(f"the target {true[off[0]]:g} is not in -3..3", item=f"item {off[0]}",
                              remedy="Scale targets to -3..3, the range of CMU-MOSEI's sentiment.")  # fmt: skip
    return predicted, true


def _one_scale(values: Floats, target: NDArray[Any]) -> tuple[Floats, Floats]:
    predicted, true = as_floats(values, "predictions", 2), as_floats(target, "targets", 2)
    if predicted.shape[1] != 1 or true.shape[1] != 1:
        raise EvaluationError(f"predictions {predicted.shape} and targets {true.shape} are not one scale",
                              remedy="Score sentiment alone, (n, 1).")  # fmt: skip
    return predicted[:, 0], true[:, 0]


@metric("sentiment_accuracy_7", "sentiment", 0.0, 1.0)
def _accuracy_7_of(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Acc-7: share of items whose sentiment, clipped to -3..3 and rounded, is right."""
    return accuracy_7(*_one_scale(values, target))


@metric("sentiment_accuracy_5", "sentiment", 0.0, 1.0)
def _accuracy_5_of(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Acc-5: share of items whose sentiment, clipped to -2..2 and rounded, is right."""
    return accuracy_5(*_one_scale(values, target))


@metric("sentiment_accuracy_2_nonnegative", "sentiment", 0.0, 1.0)
def _accuracy_2_nonnegative_of(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Acc-2 of all items: negative or non-negative is right."""
    return accuracy_2_nonnegative(*_one_scale(values, target))


@metric("sentiment_accuracy_2_nonzero", "sentiment", 0.0, 1.0)
def _accuracy_2_nonzero_of(values: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Acc-2 without the items whose target is 0: negative or positive is right."""
    return accuracy_2_nonzero(*_one_scale(values, target))[0]
