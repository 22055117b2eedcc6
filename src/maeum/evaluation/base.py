"""The type of a metric, the table of all metrics, and the checks that every metric makes of its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maeum.errors import EvaluationError
from maeum.labels import LabelSet, Task
from maeum.registry import Registry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
ArrayLike = Any  # a Tensor, an array or nested sequences of numbers

#: What to do about a class that has no item in the target: refuse the score, or leave the class out of the mean.
Absent = Literal["error", "exclude"]

#: What a metric is for. A report shows the metrics that `metrics_of` gives for its label set. ``ranking`` and
#: ``sentiment`` are no tasks of label sets: the first is of several labels, and of classes where it is asked for by
#: name; the second is of one scale -3..3.
Purpose = Task | Literal["ranking", "sentiment"]

#: What a metric judges: decisions (the most probable class, the labels above their thresholds), or the outputs that
#: they were made from (probabilities, values).
Judged = Literal["decisions", "outputs"]


@dataclass(frozen=True)
class Metric:
    """A score of predictions."""

    name: str
    task: Purpose
    function: Callable[[Floats, NDArray[Any], Absent], float]
    """``(outputs, target, absent) -> float``. Outputs are probabilities ``(n, labels)`` for single-label and
    multi-label tasks, values ``(n, labels)`` for dimensional ones, scores ``(n, labels)`` for ranking (target: classes
    ``(n,)`` or 0/1 ``(n, labels)``), values ``(n, 1)`` for sentiment."""
    low: float
    """The lowest value that it can have."""
    high: float
    """The highest."""
    higher_is_better: bool
    definition: str
    """One line for tables."""
    judges: Judged = "outputs"
    """See `Judged`. A metric of several labels that judges decisions may be given 0/1, decided at thresholds, in place
    of probabilities."""

    def given(self, outputs: Floats, decided: Floats) -> Floats:
        """Which of the two its function takes: a model's outputs, or what was decided at thresholds."""
        return decided if self.judges == "decisions" else outputs


#: Metrics by name; packages add theirs through the entry-point group ``maeum.metrics``.
METRICS: Registry[Metric] = Registry("metric", "maeum.metrics")


def metric(
    name: str,
    task: Purpose,
    low: float,
    high: float,
    *,
    higher_is_better: bool = True,
    judges: Judged = "outputs",
) -> Callable[[Callable[[Floats, NDArray[Any], Absent], float]], Callable[[Floats, NDArray[Any], Absent], float]]:
    """Decorator that puts a function into `METRICS`; the first line of its docstring is its definition."""

    def put(function: Callable[[Floats, NDArray[Any], Absent], float]) -> Callable[..., float]:
        definition = (function.__doc__ or "").strip().split("\n")[0]
        METRICS.register(name)(Metric(name, task, function, low, high, higher_is_better, definition, judges))
        return function

    return put


def metrics_of(label_set: LabelSet) -> list[str]:
    """Names of the metrics for a label set: of its task, of ranking for several labels, of sentiment for -3 to 3."""
    purposes: set[Purpose] = {label_set.task}
    if label_set.task == "multi-label":
        purposes.add("ranking")
    if tuple(label_set.scales.values()) == ((-3.0, 3.0),):
        purposes.add("sentiment")
    return [name for name in METRICS if METRICS[name].task in purposes]


def as_floats(values: ArrayLike, what: str, ndim: int, *, missing: bool = False) -> Floats:
    """Numbers as a float64 array; raises EvaluationError on a wrong shape, nothing at all, infinity or NaN.

    With ``missing``, NaN stands for a missing value, and is no error.
    """
    array = np.asarray(values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values, np.float64)
    if array.ndim != ndim or not array.size:
        raise EvaluationError(f"{what} of shape {array.shape} cannot be scored",
                              remedy=f"Give {ndim} axes and at least one item.")  # fmt: skip
    finite = np.isfinite(array) | (np.isnan(array) if missing else False)
    if not finite.all():
        where = int(np.argwhere(~finite)[0][0])
        raise EvaluationError(f"{what} are not finite", item=f"item {where}",
                              remedy="Look for NaN or infinity in what the model gave.")  # fmt: skip
    return array


def as_classes(values: ArrayLike, what: str, num_classes: int | None = None) -> Ints:
    """Class indices as an int64 array ``(n,)``; raises EvaluationError when one is no class."""
    array = np.asarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)
    if array.ndim != 1 or not array.size:
        raise EvaluationError(f"{what} of shape {array.shape} cannot be scored",
                              remedy="Give class indices (n,) of at least one item.")  # fmt: skip
    if array.dtype.kind not in "iu" and not (array.dtype.kind == "f" and (array == array.round()).all()):
        raise EvaluationError(f"{what} are {array.dtype}, class indices expected",
                              remedy="Take the argmax of probabilities first.")  # fmt: skip
    last = np.iinfo(np.int32).max if num_classes is None else num_classes - 1
    if (wrong := np.flatnonzero((array < 0) | (array > last))).size:
        raise EvaluationError(f"{array[wrong[0]]} is no class; {what} are 0..{last}", item=f"item {wrong[0]}",
                              remedy="Count classes from 0, and give as many as there are.")  # fmt: skip
    return array.astype(np.int64)


def as_binary(values: ArrayLike, what: str, ndim: int) -> Bools:
    """Zeros and ones as booleans; raises EvaluationError on other values, and like `as_floats`."""
    array = as_floats(values, what, ndim)
    if (wrong := np.argwhere((array != 0) & (array != 1))).size:
        value = array[tuple(wrong[0])]
        raise EvaluationError(f"{what} are not 0 or 1 but {value:g}", item=f"item {wrong[0][0]}",
                              remedy="Apply thresholds to probabilities first.")  # fmt: skip
    return np.asarray(array == 1)


def as_probabilities(probs: ArrayLike, target: ArrayLike) -> tuple[Floats, Ints]:
    """Probabilities ``(n, classes)`` and true classes ``(n,)``.

    Raises:
        EvaluationError: when a row is negative somewhere or does not sum to 1 (within 1e-4), a target is no class, or
            lengths differ.
    """
    p = as_floats(probs, "probabilities", 2)
    if (wrong := np.flatnonzero((p.min(1) < 0) | (p.max(1) > 2) | (np.abs(p.clip(0, 2).sum(1) - 1) > 1e-4))).size:
        raise EvaluationError("probabilities are negative or do not sum to 1", item=f"item {wrong[0]}",
                              remedy="Apply softmax to logits first.")  # fmt: skip
    true = as_classes(target, "targets", p.shape[1])
    same_length(p, true)
    return p, true


def same_length(first: NDArray[Any], second: NDArray[Any]) -> None:
    """Raise EvaluationError when there are not as many predictions as targets."""
    if len(first) != len(second):
        raise EvaluationError(f"{len(first)} predictions for {len(second)} targets",
                              remedy="Give one prediction for each target.")  # fmt: skip


def mean_over_labels(scores: Sequence[float | None], absent: Absent, undefined: str) -> float:
    """Mean of the labels' scores; None is a label without one.

    Args:
        scores: of each label.
        absent: ``error`` refuses when a label has no score, ``exclude`` leaves it out.
        undefined: why a label has none, for the message: ``are never on``.

    Raises:
        EvaluationError: see ``absent``; in any case when no label has a score.
    """
    missing = [i for i, score in enumerate(scores) if score is None]
    defined = [score for score in scores if score is not None]
    if not defined:
        raise EvaluationError(f"all labels {undefined}, so there is no mean", remedy="Score other items.")
    if missing and absent == "error":
        raise EvaluationError(f"labels {missing} {undefined}, so a mean over all labels is undefined",
                              remedy='Leave them out with absent="exclude".')  # fmt: skip
    return sum(defined) / len(defined)
