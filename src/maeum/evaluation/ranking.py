"""How well scores rank items: ROC AUC and average precision, which need no threshold. 0..1, higher is better.

They need probabilities or logits: of decisions (0 or 1) ROC AUC is no more than weighted accuracy.
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

    Example:
        >>> roc_auc([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0])
        0.75
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

    Example:
        >>> label_roc_auc([[0.9, 0.2], [0.1, 0.4]], [[1, 0], [0, 0]])
        [1.0, None]
    """
    score, positive = _columns(scores, target)
    return [_area(score[:, i], positive[:, i]) for i in range(score.shape[1])]


def one_vs_rest_roc_auc(scores: ArrayLike, target: ArrayLike) -> list[float | None]:
    """ROC AUC of each class against all others, see `roc_auc`; None where a class has no items or all.

    Args:
        scores: ``(n, classes)``.
        target: true classes, ``(n,)``.

    Raises:
        EvaluationError: when lengths differ, a score is not finite, or a target is no class.

    Example:
        >>> one_vs_rest_roc_auc([[0.9, 0.1], [0.2, 0.8]], [0, 1])
        [1.0, 1.0]
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


def average_precision(scores: ArrayLike, target: ArrayLike) -> float:
    """Average precision, 0..1, higher is better; chance is the share of positive items (Buckley and Voorhees 2000).

    The precision among the items that score at least as high as a positive item, averaged over the positive items.
    Items of one score are ranked together. Of rare labels it is stricter than ROC AUC, which forgives wrong items
    before right ones where there are many wrong items in all.

    Args:
        scores: the higher, the more likely yes, ``(n,)``.
        target: 0/1, ``(n,)``.

    Raises:
        EvaluationError: when no item is positive, lengths differ, or a score is not finite.

    Example:
        >>> round(average_precision([0.9, 0.4, 0.6, 0.1], [1, 1, 0, 0]), 3)
        0.833
    """
    score, positive = as_floats(scores, "scores", 1), as_binary(target, "targets", 1)
    same_length(score, positive)
    precision = _precision(score, positive)
    if precision is None:
        raise EvaluationError("no target is positive, so average precision is undefined",
                              remedy="Score items of which some are positive.")  # fmt: skip
    return precision


def label_average_precision(scores: ArrayLike, target: ArrayLike) -> list[float | None]:
    """Average precision of each label of a multi-label task, see `average_precision`; None where it is never on.

    Args:
        scores: ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: when shapes differ, a score is not finite, or a target is not 0 or 1.

    Example:
        >>> label_average_precision([[0.9, 0.2], [0.1, 0.4]], [[1, 0], [0, 0]])
        [1.0, None]
    """
    score, positive = _columns(scores, target)
    return [_precision(score[:, i], positive[:, i]) for i in range(score.shape[1])]


def _columns(scores: ArrayLike, target: ArrayLike) -> tuple[Floats, Bools]:
    score, positive = as_floats(scores, "scores", 2), as_binary(target, "targets", 2)
    if score.shape != positive.shape:
        raise EvaluationError(f"scores {score.shape} and targets {positive.shape} differ in shape",
                              remedy="Give one column for each label and one row for each item.")  # fmt: skip
    return score, positive


def _precision(score: Floats, positive: Bools) -> float | None:
    yes = int(positive.sum())
    if not yes:
        return None
    _, which, counts = np.unique(-score, return_inverse=True, return_counts=True)
    hits = np.bincount(which, positive)  # of each distinct score, the highest first
    return float((hits * hits.cumsum() / counts.cumsum()).sum() / yes)


@metric("mean_average_precision", "ranking", 0.0, 1.0)
def _mean_average_precision(scores: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over labels of average precision: how few wrong items have a higher score than the right ones."""
    if np.ndim(target) == 1:
        target = as_classes(target, "targets", np.shape(scores)[1])[:, None] == np.arange(np.shape(scores)[1])
    return mean_over_labels(label_average_precision(scores, target), absent, "are never on")


@metric("mean_roc_auc", "ranking", 0.0, 1.0)
def _mean_roc_auc(scores: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over labels of the area under the ROC curve: how often yes has the higher score than no."""
    areas = (one_vs_rest_roc_auc if np.ndim(target) == 1 else label_roc_auc)(scores, target)
    return mean_over_labels(areas, absent, "are never or always on")
