"""Scores of single-label predictions: pure functions of predicted and true classes.

Words: *accuracy* is the share of items that are right (WA in the literature on speech emotion); *uar* is the unweighted
average recall, the mean of the classes' recalls (UA). No function returns NaN: a score that is undefined is an
EvaluationError, or the class is left out when the caller says so. Every score here is 0..1 and higher is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import (
    Absent,
    ArrayLike,
    Floats,
    Ints,
    as_classes,
    as_floats,
    mean_over_labels,
    metric,
    same_length,
)


def confusion_matrix(preds: ArrayLike, target: ArrayLike, num_classes: int) -> Ints:
    """How often class i was taken for class j.

    Args:
        preds: predicted classes, ``(n,)``.
        target: true classes, ``(n,)``.
        num_classes: how many classes there are.

    Returns:
        Counts ``(num_classes, num_classes)``: rows are true, columns predicted.

    Raises:
        EvaluationError: when there are no items, lengths differ, or an index is no class.

    Example:
        >>> confusion_matrix([0, 1, 1], [0, 0, 1], 2).tolist()
        [[1, 1], [0, 1]]
    """
    predicted, true = as_classes(preds, "predictions", num_classes), as_classes(target, "targets", num_classes)
    same_length(predicted, true)
    return np.bincount(true * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)


def accuracy(preds: ArrayLike, target: ArrayLike) -> float:
    """Share of items whose class is right, 0..1, higher is better (WA). Always defined.

    Frequent classes decide it: always saying the most frequent class has that class's share (Schuller et al. 2009).

    Args:
        preds: predicted classes, ``(n,)``.
        target: true classes, ``(n,)``.

    Raises:
        EvaluationError: when there are no items, lengths differ, or an index is no class.

    Example:
        >>> accuracy([0, 1, 1, 1], [0, 0, 1, 1])
        0.75
    """
    predicted, true = as_classes(preds, "predictions"), as_classes(target, "targets")
    same_length(predicted, true)
    return float((predicted == true).mean())


def uar(preds: ArrayLike, target: ArrayLike, num_classes: int, absent: Absent = "error") -> float:
    """Unweighted average recall, 0..1, higher is better (UA): the mean over classes of the recognised share.

    Chance is ``1 / num_classes`` however frequent the classes are (Schuller et al. 2009).

    Args:
        preds: predicted classes, ``(n,)``.
        target: true classes, ``(n,)``.
        num_classes: how many classes there are.
        absent: a class without items has no recall: ``error`` refuses, ``exclude`` leaves it out of the mean.

    Raises:
        EvaluationError: see `confusion_matrix`, and ``absent``.

    Example:
        >>> uar([0, 0, 0, 1], [0, 0, 0, 1], 2), uar([0, 0, 0, 0], [0, 0, 0, 1], 2)
        (1.0, 0.5)
    """
    return _uar(confusion_matrix(preds, target, num_classes), absent)


def f1_per_class(preds: ArrayLike, target: ArrayLike, num_classes: int) -> list[float | None]:
    """F1 of each class, ``2 TP / (2 TP + FP + FN)``, 0..1, higher is better (van Rijsbergen 1979).

    None where a class has no items and was never predicted; 0 where it has none but was predicted.

    Args:
        preds: predicted classes, ``(n,)``.
        target: true classes, ``(n,)``.
        num_classes: how many classes there are.

    Raises:
        EvaluationError: see `confusion_matrix`.

    Example:
        >>> f1_per_class([0, 1, 1, 1], [0, 0, 1, 1], 2)
        [0.6666666666666666, 0.8]
    """
    return _f1(confusion_matrix(preds, target, num_classes))


def f1(
    preds: ArrayLike,
    target: ArrayLike,
    num_classes: int,
    average: Literal["macro", "weighted", "micro"] = "macro",
    absent: Absent = "error",
) -> float:
    """F1 over all classes, 0..1, higher is better.

    Macro is the mean of the classes' F1, not F1 of mean precision and recall (Opitz and Burst 2019 compare the two).

    Args:
        preds: predicted classes, ``(n,)``.
        target: true classes, ``(n,)``.
        num_classes: how many classes there are.
        average: ``macro`` is the mean over classes, ``weighted`` the mean weighted by the classes' items, ``micro``
            counts all together (then equal to accuracy).
        absent: for macro, what to do about a class without items. The other averages do not depend on it.

    Raises:
        EvaluationError: see `confusion_matrix`, and ``absent``.

    Example:
        >>> f1([0, 0, 1, 1], [0, 1, 1, 1], 2), f1([0, 0, 1, 1], [0, 1, 1, 1], 2, "micro")
        (0.7333333333333334, 0.75)
    """
    matrix = confusion_matrix(preds, target, num_classes)
    if average == "micro":
        return float(matrix.trace() / matrix.sum())
    return _weighted_f1(matrix) if average == "weighted" else _macro_f1(matrix, absent)


def one_vs_rest_accuracy(preds: ArrayLike, target: ArrayLike, num_classes: int) -> list[float]:
    """For each class, the share of items for which "is it this class?" is answered right, 0..1, higher is better.

    What is called accuracy on IEMOCAP in Tsai et al. 2019 and Dai et al. 2021. A classifier that never says yes has
    about ``1 - 1 / num_classes``: always show F1 and UAR beside it. Always defined, for absent classes too.

    Args:
        preds: predicted classes, ``(n,)``.
        target: true classes, ``(n,)``.
        num_classes: how many classes there are.

    Raises:
        EvaluationError: see `confusion_matrix`.

    Example:
        >>> one_vs_rest_accuracy([0, 1, 1, 2], [0, 0, 1, 2], 3)
        [0.75, 0.75, 1.0]
    """
    return _one_vs_rest(confusion_matrix(preds, target, num_classes))


@dataclass(frozen=True)
class ClassScores:
    """One class in a table; None where a score is undefined."""

    name: str
    support: int
    """Its items."""
    predicted: int
    """Items that were predicted to be of it."""
    precision: float | None
    recall: float | None
    f1: float | None


def class_table(preds: ArrayLike, target: ArrayLike, names: Sequence[str]) -> list[ClassScores]:
    """Precision, recall and F1 of each class, all 0..1, higher is better.

    Raises:
        EvaluationError: see `confusion_matrix`.

    Example:
        >>> class_table([0, 1, 1, 1], [0, 0, 1, 1], ["calm", "rage"])[0].recall
        0.5
    """
    matrix = confusion_matrix(preds, target, len(names))
    hits, support, predicted = matrix.diagonal().tolist(), matrix.sum(1).tolist(), matrix.sum(0).tolist()
    return [
        ClassScores(name, support[i], predicted[i], hits[i] / predicted[i] if predicted[i] else None,
                    hits[i] / support[i] if support[i] else None, score)
        for i, (name, score) in enumerate(zip(names, _f1(matrix), strict=True))
    ]  # fmt: skip


def _present(matrix: Ints, absent: Absent) -> NDArray[np.bool_]:
    present: NDArray[np.bool_] = matrix.sum(1) > 0
    if absent == "error" and not present.all():
        missing = np.flatnonzero(~present).tolist()
        raise EvaluationError(f"classes {missing} have no items, so a mean over all classes is undefined",
                              remedy='Score items of every class, or say absent="exclude".')  # fmt: skip
    return present


def _uar(matrix: Ints, absent: Absent) -> float:
    present = _present(matrix, absent)
    return float((matrix.diagonal()[present] / matrix.sum(1)[present]).mean())


def _f1(matrix: Ints) -> list[float | None]:
    hits, both = matrix.diagonal(), matrix.sum(0) + matrix.sum(1)
    return [2.0 * h / b if b else None for h, b in zip(hits.tolist(), both.tolist(), strict=True)]


def _macro_f1(matrix: Ints, absent: Absent) -> float:
    present = _present(matrix, absent)
    scores = [
        score for score, has_items in zip(_f1(matrix), present.tolist(), strict=True) if has_items and score is not None
    ]
    return sum(scores) / len(scores)


def _weighted_f1(matrix: Ints) -> float:
    support = matrix.sum(1).tolist()
    weighted = [score * n for score, n in zip(_f1(matrix), support, strict=True) if score is not None]
    return float(sum(weighted) / sum(support))


def _one_vs_rest(matrix: Ints) -> list[float]:
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    return [float(x) for x in 1.0 - wrong / matrix.sum()]


def _mean_one_vs_rest(matrix: Ints, absent: Absent) -> float:
    present = matrix.sum(1) > 0
    scores = [score if here else None for score, here in zip(_one_vs_rest(matrix), present, strict=True)]
    return mean_over_labels(scores, absent, "have no items")


def _matrix(probs: Floats, target: NDArray[Any]) -> Ints:
    probs = as_floats(probs, "probabilities", 2)
    return confusion_matrix(probs.argmax(1), target, probs.shape[1])


@metric("accuracy", "single-label", 0.0, 1.0, judges="decisions")
def _accuracy_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Share of items whose most probable class is right (WA)."""
    matrix = _matrix(probs, target)
    return float(matrix.trace() / matrix.sum())


@metric("uar", "single-label", 0.0, 1.0, judges="decisions")
def _uar_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Unweighted average recall of the most probable class (UA)."""
    return _uar(_matrix(probs, target), absent)


@metric("macro_f1", "single-label", 0.0, 1.0, judges="decisions")
def _macro_f1_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over classes of F1 of the most probable class."""
    return _macro_f1(_matrix(probs, target), absent)


@metric("weighted_f1", "single-label", 0.0, 1.0, judges="decisions")
def _weighted_f1_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over classes, weighted by their items, of F1 of the most probable class."""
    return _weighted_f1(_matrix(probs, target))


@metric("mean_one_vs_rest_accuracy", "single-label", 0.0, 1.0, judges="decisions")
def _mean_one_vs_rest_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over classes of the share of items for which "is it this class?" is answered right."""
    return _mean_one_vs_rest(_matrix(probs, target), absent)
