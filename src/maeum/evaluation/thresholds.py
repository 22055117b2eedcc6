"""One threshold per label, chosen on dev, applied to test; the two never meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maeum.errors import EvaluationError
from maeum.evaluation.base import ArrayLike, Floats, as_floats
from maeum.evaluation.multilabel import label_f1
from maeum.wording import counted

#: 0.05, 0.10 ... 0.95 (Dai et al. 2021).
GRID = tuple(round(0.05 * i, 2) for i in range(1, 20))


@dataclass(frozen=True)
class Thresholds:
    """A label is on above its threshold. dev_f1: F1 on dev at it; None without positive dev items."""

    values: tuple[float, ...]
    dev_f1: tuple[float | None, ...] = ()

    def apply(self, probs: ArrayLike) -> Floats:
        """0/1 of each label, ``(n, labels)``; raises EvaluationError when the number of labels differs."""
        p = as_floats(probs, "probabilities", 2)
        if p.shape[1] != len(self.values):
            raise EvaluationError(f"{counted(p.shape[1], 'label')} for {counted(len(self.values), 'threshold')}")
        return (p > np.asarray(self.values)).astype(np.float64)


def choose_thresholds(dev_probs: ArrayLike, dev_target: ArrayLike) -> Thresholds:
    """For each label the threshold of `GRID` with the best F1 on dev; of equals the one nearest to 0.5.

    A label without positive dev items keeps 0.5.

    Args:
        dev_probs: ``(n, labels)``, of dev items.
        dev_target: 0/1, ``(n, labels)``.

    Raises:
        EvaluationError: when shapes differ.
    """
    p, true = as_floats(dev_probs, "probabilities", 2), as_floats(dev_target, "targets", 2)
    scores = np.array([[-1.0 if f is None else f for f in label_f1(p > t, true)] for t in GRID])
    values: list[float] = []
    best: list[float | None] = []
    for label in range(p.shape[1]):
        if not true[:, label].any():
            values.append(0.5)
            best.append(None)
            continue
        column = scores[:, label]
        at = min(range(len(GRID)), key=lambda i: (-column[i], abs(GRID[i] - 0.5)))
        values.append(GRID[at])
        best.append(float(column[at]))
    return Thresholds(tuple(values), tuple(best))
