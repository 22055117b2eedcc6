"""What answers without looking would score on the same items: every score is to be read beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Floats, Metric
from maeum.evaluation.dimensional import labelled

#: Shuffles of which the score of chance is the mean.
_SHUFFLES = 50


def majority_score(metric: Metric, target: NDArray[Any], labels: int) -> float | None:
    """Score of always the same answer: the most frequent class, each label's more frequent side, each scale's mean.

    Args:
        metric: of the target's task.
        target: classes ``(n,)``, 0/1 ``(n, labels)`` or values ``(n, labels)``, NaN where an item has none.
        labels: how many there are.

    Returns:
        The score; None where it is undefined for an answer that is always the same. Absent classes are left out.
    """
    if target.ndim == 1:
        answer = np.eye(labels)[np.bincount(target, minlength=labels).argmax()]
    elif metric.task in ("multi-label", "ranking"):
        answer = (target.mean(0) > 0.5).astype(np.float64)
    else:
        answer = np.array([true.mean() if len(true) else 0.0 for _, true in labelled(target, target)])
    return _score(metric, np.tile(answer, (len(target), 1)), target)


def chance_score(metric: Metric, outputs: Floats, target: NDArray[Any], seed: int = 0) -> float | None:
    """Mean score of the model's own answers dealt out to the items at random: what it gets without looking at them.

    Args:
        metric: of the target's task.
        outputs: the model's, ``(n, labels)``.
        target: see `majority_score`.
        seed: of the shuffles.

    Returns:
        The score; None where it is undefined. Absent classes are left out.
    """
    rng = np.random.default_rng(seed)
    scores = [_score(metric, outputs[rng.permutation(len(outputs))], target) for _ in range(_SHUFFLES)]
    defined = [score for score in scores if score is not None]
    return float(np.mean(defined)) if defined else None


def _score(metric: Metric, outputs: Floats, target: NDArray[Any]) -> float | None:
    try:
        return metric.function(outputs, target, "exclude")
    except EvaluationError:
        return None
