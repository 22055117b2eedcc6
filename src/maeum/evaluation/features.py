"""How classes lie in a model's features: a projection to look at, distances, and how well they are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import ArrayLike, Floats, as_classes, as_floats, same_length


@dataclass(frozen=True)
class Projection:
    """Points ``(n, 2)`` of a principal component analysis, and the share of the variance along each axis, 0..1."""

    points: Floats
    explained: tuple[float, float]


def project(features: ArrayLike) -> Projection:
    """The two directions of largest variance of features ``(n, d)``, d at least 2 (Pearson 1901).

    The sign of an axis is such that the largest of its weights is positive. Features that are all equal lie at 0.

    Raises:
        EvaluationError: when features are not finite or have fewer than two columns.
    """
    x = as_floats(features, "features", 2)
    if x.shape[1] < 2:
        raise EvaluationError("features of one column cannot be projected", remedy="Give two columns at least.")
    centred = x - x.mean(0)
    _, strength, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.concatenate((axes, np.zeros((2, x.shape[1]))))[:2]
    axes *= np.where(axes[np.arange(2), np.abs(axes).argmax(1)] < 0, -1.0, 1.0)[:, None]
    shares = np.concatenate((strength**2, [0.0, 0.0]))[:2] / max(float((strength**2).sum()), np.finfo(float).tiny)
    return Projection(centred @ axes.T, (float(shares[0]), float(shares[1])))


def class_distances(features: ArrayLike, target: ArrayLike, classes: int) -> list[list[float | None]]:
    """Distances between class means, ``(classes, classes)``; None beside a class without items.

    In units of the root mean square distance of items to the mean of their class: 0 is the same place, 1 is as far as
    an item usually is from its own class.

    Raises:
        EvaluationError: when all items of each class are equal, so that there is no unit, or input is not as it should
            be.
    """
    x, true = _checked(features, target, classes)
    present = [c for c in range(classes) if (true == c).any()]
    means = {c: x[true == c].mean(0) for c in present}
    own = np.stack(list(means.values()))[np.searchsorted(present, true)]
    spread = float(np.sqrt(np.square(x - own).sum(1).mean()))
    if spread == 0:
        raise EvaluationError("all items of a class are equal, so distances have no unit", remedy="Score more items.")
    return [
        [
            float(np.linalg.norm(means[a] - means[b])) / spread if a in means and b in means else None
            for b in range(classes)
        ]
        for a in range(classes)
    ]


def silhouette(features: ArrayLike, target: ArrayLike, classes: int) -> float:
    """Mean of `silhouettes`."""
    return float(silhouettes(features, target, classes).mean())


def silhouettes(features: ArrayLike, target: ArrayLike, classes: int) -> Floats:
    """Each item's silhouette, -1..1, higher is better: how much nearer it is to its own class than to the next one.

    Euclidean distances (Rousseeuw 1987). An item that is alone in its class counts 0.

    Raises:
        EvaluationError: with fewer than two classes among the items, or when input is not as it should be.
    """
    x, true = _checked(features, target, classes)
    present = np.unique(true)
    if len(present) < 2:
        raise EvaluationError("a silhouette needs items of two classes at least", remedy="Score more items.")
    squares = np.square(x).sum(1)
    members = np.stack([true == c for c in present], 1).astype(np.float64)
    sizes = members.sum(0)
    totals = np.empty((len(x), len(present)))
    for start in range(0, len(x), 1024):  # the whole matrix of distances may not fit
        part = slice(start, start + 1024)
        apart = np.sqrt(np.maximum(squares[part, None] + squares[None] - 2 * x[part] @ x.T, 0.0))
        apart[np.arange(len(apart)), np.arange(start, start + len(apart))] = 0.0
        totals[part] = apart @ members
    own = np.searchsorted(present, true)
    rows = np.arange(len(x))
    inside = totals[rows, own] / np.maximum(sizes[own] - 1, 1)
    others = totals / sizes
    others[rows, own] = np.inf
    nearest = others.min(1)
    widest = np.maximum(inside, nearest)
    values: Floats = np.divide(nearest - inside, widest, out=np.zeros(len(x)), where=(widest > 0) & (sizes[own] > 1))
    return values


def _checked(features: ArrayLike, target: ArrayLike, classes: int) -> tuple[Floats, NDArray[np.int64]]:
    x, true = as_floats(features, "features", 2), as_classes(target, "targets", classes)
    same_length(x, true)
    return x, true
