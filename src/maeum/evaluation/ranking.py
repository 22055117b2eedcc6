"""How well scores rank items: ROC AUC, which needs no threshold. 0..1, higher is better, 0.5 is chance.

It needs probabilities or logits; on decisions (0 or 1) it is no more than weighted accuracy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import (
    Absent,
    ArrayLike,
    Bools,
    Floats,
    as_binary,
    as_classes,
    as_floats,
    mean_over_labels,
    metric,
    same_length,
)


def roc_auc(scores: ArrayLike, target: ArrayLike) -> float:
    """Area under the ROC curve, 0..1, higher is better, 0.5 is chance (Hanley and McNeil 1982).

    The probability that a positive item has a higher score than a negative one; a tie counts one half.

    Args:
        scores: the higher, the more likely yes, ``(n,)``.
        target: 0/1, ``(n,)``.

    Raises:
        EvaluationError: when all items are alike, lengths differ, or a score is not finite.
    """
    score, positive = as_floats(scores, "scores", 1), as_binary(target, "targets", 1)
    same_length(score, positive)
    area = _area(score, positive)
    if area is None:
        raise EvaluationError("all targets are alike, so ROC AUC is undefined",
                              remedy="Score positive and negative items together.")  # fmt: skip
    return area


def label_roc_auc(scores: ArrayLike, target: ArrayLike) -> list[float | None]:
    """ROC AUC of each label of a multi-label task, see `roc_auc`; None where all items of a label are alike.

    Args:
        scores: ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: when shapes differ, a score is not finite, or a target is not 0 or 1.
    """
    score, positive = as_floats(scores, "scores", 2), as_binary(target, "targets", 2)
    if score.shape != positive.shape:
        raise EvaluationError(f"scores {score.shape} and targets {positive.shape} differ in shape",
                              remedy="Give one column for each label and one row for each item.")  # fmt: skip
    return [_area(score[:, i], positive[:, i]) for i in range(score.shape[1])]


def one_vs_rest_roc_auc(scores: ArrayLike, target: ArrayLike) -> list[float | None]:
    """ROC AUC of each class against all others, see `roc_auc`; None where a class has no items or all.

    Args:
        scores: ``(n, classes)``.
        target: true classes, ``(n,)``.

    Raises:
        EvaluationError: when lengths differ, a score is not finite, or a target is no class.
    """
    score = as_floats(scores, "scores", 2)
    true = as_classes(target, "targets", score.shape[1])
    same_length(score, true)
    return [_area(score[:, i], true == i) for i in range(score.shape[1])]


def _area(score: Floats, positive: Bools) -> float | None:
    yes = int(positive.sum())
    no = len(positive) - yes
    if not yes or not no:
        return None
    _, which, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = counts.cumsum() - (counts - 1) / 2  # of each distinct score, from 1; equal scores share their mean rank
    return float((rank[which][positive].sum() - yes * (yes + 1) / 2) / (yes * no))


@metric("mean_roc_auc", "ranking", 0.0, 1.0)
def _mean_roc_auc(scores: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over labels of the area under the ROC curve: how often yes has the higher score than no."""
    areas = (one_vs_rest_roc_auc if np.ndim(target) == 1 else label_roc_auc)(scores, target)
    return mean_over_labels(areas, absent, "are never or always on")
