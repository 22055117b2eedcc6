"""Scores of multi-label predictions (any number of labels per item): one binary question per label.

Every score here is 0..1 and higher is better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Absent, ArrayLike, Bools, Floats, as_binary, as_floats, mean_over_labels, metric


def binary_counts(preds: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """True positives, false positives, false negatives, true negatives of each label.

    Args:
        preds: 0/1, ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: on other shapes or values.
    """
    predicted, true = _pair(preds, target)
    tp, fp, fn = (predicted & true).sum(0), (predicted & ~true).sum(0), (~predicted & true).sum(0)
    counts = [x.astype(np.float64) for x in (tp, fp, fn, len(predicted) - tp - fp - fn)]
    return counts[0], counts[1], counts[2], counts[3]


def weighted_accuracy(preds: ArrayLike, target: ArrayLike) -> list[float | None]:
    """WAcc of each label, ``(TP * N / P + TN) / (2 N)``, 0..1, higher is better, with P positive and N negative items.

    The mean of the recalls of yes and of no, also called balanced accuracy; always saying no has 0.5. The score of
    CMU-MOSEI's emotions (Zadeh et al. 2018; Dai et al. 2021). None where all items of a label are alike.

    Args:
        preds: 0/1, ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: see `binary_counts`.

    Example:
        >>> weighted_accuracy([[1], [1], [0], [0]], [[1], [0], [0], [0]])
        [0.8333333333333334]
    """
    tp, fp, fn, tn = binary_counts(preds, target)
    positive, negative = tp + fn, tn + fp
    return [
        (t * n / p + u) / (2 * n) if p and n else None
        for t, u, p, n in zip(tp.tolist(), tn.tolist(), positive.tolist(), negative.tolist(), strict=True)
    ]


def label_f1(preds: ArrayLike, target: ArrayLike) -> list[float | None]:
    """F1 of yes for each label, ``2 TP / (2 TP + FP + FN)``, 0..1, higher is better (van Rijsbergen 1979).

    None where a label has no items and was never predicted; 0 where it has none but was predicted.

    Args:
        preds: 0/1, ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: see `binary_counts`.

    Example:
        >>> label_f1([[1, 0], [1, 1]], [[1, 0], [1, 1]])
        [1.0, 1.0]
    """
    tp, fp, fn, _ = binary_counts(preds, target)
    both = 2 * tp + fp + fn
    return [2 * t / b if b else None for t, b in zip(tp.tolist(), both.tolist(), strict=True)]


def label_accuracy(preds: ArrayLike, target: ArrayLike) -> list[float]:
    """Plain accuracy of each label, 0..1, higher is better. Always saying no has the share of no. Always defined.

    Args:
        preds: 0/1, ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: see `binary_counts`.

    Example:
        >>> label_accuracy([[1, 0], [1, 1]], [[1, 0], [0, 1]])
        [0.5, 1.0]
    """
    tp, fp, fn, tn = binary_counts(preds, target)
    return [float(x) for x in (tp + tn) / (tp + fp + fn + tn)]


def subset_accuracy(preds: ArrayLike, target: ArrayLike) -> float:
    """Share of items of which every label is right, 0..1, higher is better (Zhang and Zhou 2014). Always defined.

    The strictest score of several labels: one wrong label makes the item wrong.

    Args:
        preds: 0/1, ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: see `binary_counts`.

    Example:
        >>> subset_accuracy([[1, 0], [1, 1]], [[1, 0], [0, 1]])
        0.5
    """
    predicted, true = _pair(preds, target)
    return float((predicted == true).all(1).mean())


def _pair(preds: ArrayLike, target: ArrayLike) -> tuple[Bools, Bools]:
    predicted, true = as_binary(preds, "predictions", 2), as_binary(target, "targets", 2)
    if predicted.shape != true.shape:
        raise EvaluationError(f"predictions {predicted.shape} and targets {true.shape} differ in shape",
                              remedy="Give one column for each label and one row for each item.")  # fmt: skip
    return predicted, true


def _decided(probs: Floats) -> Bools:
    return as_floats(probs, "probabilities", 2) > 0.5


@metric("mean_wacc", "multi-label", 0.0, 1.0, judges="decisions")
def _mean_wacc(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over labels of weighted accuracy, at thresholds fitted on dev or else 0.5."""
    return mean_over_labels(weighted_accuracy(_decided(probs), target), absent, "are never or always on")


@metric("mean_f1", "multi-label", 0.0, 1.0, judges="decisions")
def _mean_f1(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over labels of F1 of yes, at thresholds fitted on dev or else 0.5."""
    scores = label_f1(_decided(probs), target)
    present = as_binary(target, "targets", 2).sum(0).tolist()
    return mean_over_labels([f if n else None for f, n in zip(scores, present, strict=True)], absent, "are never on")


@metric("subset_accuracy", "multi-label", 0.0, 1.0, judges="decisions")
def _subset_accuracy_of(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Share of items of which every label is right, at thresholds fitted on dev or else 0.5."""
    return subset_accuracy(_decided(probs), target)
