"""What a metric is, the table of all metrics, and the checks that every metric makes on what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maeum.errors import EvaluationError
from maeum.labels import Task
from maeum.registry import Registry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ArrayLike = Any  # a Tensor, an array or nested sequences of numbers

#: What to do about a class that has no item in the target: refuse the score, or leave the class out of the mean.
Absent = Literal["error", "exclude"]


@dataclass(frozen=True)
class Metric:
    """A score of predictions.

    function: ``(outputs, target, absent) -> float``. For single-label and multi-label tasks outputs are probabilities
    ``(n, labels)``, for dimensional ones values ``(n, labels)``. low, high: its range. higher_is_better: the direction.
    """

    name: str
    task: Task
    function: Callable[[Floats, NDArray[Any], Absent], float]
    low: float
    high: float
    higher_is_better: bool
    definition: str


#: Metrics by name; packages add theirs through the entry-point group ``maeum.metrics``.
METRICS: Registry[Metric] = Registry("metric", "maeum.metrics")


def metric(
    name: str, task: Task, low: float, high: float, *, higher_is_better: bool = True
) -> Callable[[Callable[[Floats, NDArray[Any], Absent], float]], Callable[[Floats, NDArray[Any], Absent], float]]:
    """Decorator that puts a function into `METRICS`; the first line of its docstring is its definition."""

    def put(function: Callable[[Floats, NDArray[Any], Absent], float]) -> Callable[..., float]:
        definition = (function.__doc__ or "").strip().split("\n")[0]
        METRICS.register(name)(Metric(name, task, function, low, high, higher_is_better, definition))
        return function

    return put


def as_floats(values: ArrayLike, what: str, ndim: int) -> Floats:
    """Numbers as a float64 array; raises EvaluationError on a wrong shape, nothing at all, or NaN."""
    array = np.asarray(values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values, np.float64)
    if array.ndim != ndim or not array.size:
        raise EvaluationError(
            f"{what} of shape {array.shape} cannot be scored; {ndim} axes and at least one item expected"
        )
    if not np.isfinite(array).all():
        where = int(np.argwhere(~np.isfinite(array))[0][0])
        raise EvaluationError(f"{what} of item {where} are not finite")
    return array


def as_classes(values: ArrayLike, what: str, num_classes: int | None = None) -> Ints:
    """Class indices as an int64 array ``(n,)``; raises EvaluationError when one is no class."""
    array = np.asarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)
    if array.ndim != 1 or not array.size:
        raise EvaluationError(f"{what} of shape {array.shape} cannot be scored; class indices (n,) expected")
    if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and (array == array.round()).all()):
        raise EvaluationError(f"{what} are {array.dtype}, class indices expected")
    classes = array.astype(np.int64)
    if classes.min() < 0 or (num_classes is not None and classes.max() >= num_classes):
        raise EvaluationError(
            f"{what} hold {int(classes.min())}..{int(classes.max())}, there are {num_classes} classes"
        )
    return classes


def same_length(first: NDArray[Any], second: NDArray[Any]) -> None:
    """Raise EvaluationError when there are not as many predictions as targets."""
    if len(first) != len(second):
        raise EvaluationError(f"{len(first)} predictions for {len(second)} targets")
