"""Scores of multi-label predictions (any number of labels per item): one binary question per label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Absent, ArrayLike, Floats, as_floats, metric, same_length

Bools = NDArray[np.bool_]


def binary_counts(preds: ArrayLike, target: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """True positives, false positives, false negatives, true negatives of each label.

    Args:
        preds: 0/1, ``(n, labels)``.
        target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: on other shapes or values.
    """
    said, true = _binary(preds, "predictions"), _binary(target, "targets")
    if said.shape != true.shape:
        raise EvaluationError(f"predictions {said.shape} and targets {true.shape} differ in shape")
    tp, fp, fn = (said & true).sum(0), (said & ~true).sum(0), (~said & true).sum(0)
    counts = [x.astype(np.float64) for x in (tp, fp, fn, len(said) - tp - fp - fn)]
    return counts[0], counts[1], counts[2], counts[3]


def weighted_accuracy(preds: ArrayLike, target: ArrayLike) -> list[float | None]:
    """WAcc of each label, ``(TP * N / P + TN) / (2 N)``, 0..1, with P positive and N negative items (Dai et al. 2021).

    The mean of the recalls of yes and of no; always saying no has 0.5. None where all items are alike.
    """
    tp, fp, fn, tn = binary_counts(preds, target)
    positive, negative = tp + fn, tn + fp
    return [
        (t * n / p + u) / (2 * n) if p and n else None
        for t, u, p, n in zip(tp.tolist(), tn.tolist(), positive.tolist(), negative.tolist(), strict=True)
    ]


def label_f1(preds: ArrayLike, target: ArrayLike) -> list[float | None]:
    """F1 of yes for each label, 0..1; None where a label has no items and was never said."""
    tp, fp, fn, _ = binary_counts(preds, target)
    both = 2 * tp + fp + fn
    return [2 * t / b if b else None for t, b in zip(tp.tolist(), both.tolist(), strict=True)]


def label_accuracy(preds: ArrayLike, target: ArrayLike) -> list[float]:
    """Plain accuracy of each label, 0..1."""
    tp, fp, fn, tn = binary_counts(preds, target)
    return [float(x) for x in (tp + tn) / (tp + fp + fn + tn)]


def _binary(values: ArrayLike, what: str) -> Bools:
    array = as_floats(values, what, 2)
    if not np.isin(array, (0.0, 1.0)).all():
        raise EvaluationError(f"{what} are not 0 or 1", remedy="Apply thresholds to probabilities first.")
    return np.asarray(array > 0.5)


def _mean(scores: list[float | None], defined: Bools, absent: Absent) -> float:
    if absent == "error" and not defined.all():
        labels = np.flatnonzero(~defined).tolist()
        raise EvaluationError(f"labels {labels} are never or always on, so a mean is undefined",
                              remedy='Leave them out with absent="exclude".')  # fmt: skip
    kept = [score for score, there in zip(scores, defined.tolist(), strict=True) if there and score is not None]
    if not kept:
        raise EvaluationError("no label has both positive and negative items")
    return sum(kept) / len(kept)


def _defined(target: Floats, need_negative: bool) -> Bools:
    positive = target.sum(0)
    return np.asarray((positive > 0) & ((positive < len(target)) | (not need_negative)))


@metric("mean_wacc", "multi-label", 0.0, 1.0)
def _mean_wacc(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over labels of weighted accuracy, at probability 0.5."""
    probs, true = as_floats(probs, "probabilities", 2), as_floats(target, "targets", 2)
    same_length(probs, true)
    return _mean(weighted_accuracy(probs > 0.5, true), _defined(true, need_negative=True), absent)


@metric("mean_f1", "multi-label", 0.0, 1.0)
def _mean_f1(probs: Floats, target: NDArray[Any], absent: Absent = "error") -> float:
    """Mean over labels of F1 of yes, at probability 0.5."""
    probs, true = as_floats(probs, "probabilities", 2), as_floats(target, "targets", 2)
    same_length(probs, true)
    return _mean(label_f1(probs > 0.5, true), _defined(true, need_negative=False), absent)
