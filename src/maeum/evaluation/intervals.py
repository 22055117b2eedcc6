"""How sure a score is: intervals from drawing groups (speakers) again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Floats, Ints, Metric

#: A bias of fewer standard deviations than this does not matter.
_NEGLIGIBLE = 0.25


@dataclass(frozen=True)
class Interval:
    """low..high holds the score that endless data would give, in about ``level`` of all cases, and the score itself.

    Of a biased score, the calibration error above all, it is rougher than ``level`` says; see `bootstrap_interval`.

    groups: how many were drawn from. undefined: resamples in which the score was undefined, left out.
    """

    low: float
    high: float
    level: float
    groups: int
    resamples: int
    undefined: int

    def words(self, form: str = ".3f") -> str:
        """As it is printed: ``0.658 to 0.696``."""
        return f"{self.low:{form}} to {self.high:{form}}"


def score_of_drawn(metric: Metric, given: Floats, target: NDArray[Any]) -> Callable[[Ints], float]:
    """What a metric says of drawn items, for `bootstrap_interval`.

    A mean over classes is one over the same classes in every draw: where one is missing that the items as a whole
    have, the score of the draw is undefined (EvaluationError), not a mean over the others.

    Args:
        metric: see `Metric`.
        given: what its function takes, of all items.
        target: of all items.
    """
    whole = _seen(metric, target)

    def score(drawn: Ints) -> float:
        try:
            return metric.function(given[drawn], target[drawn], "error")
        except EvaluationError:
            if not np.array_equal(_seen(metric, target[drawn]), whole):
                raise
            return metric.function(given[drawn], target[drawn], "exclude")

    return score


def _seen(metric: Metric, target: NDArray[Any]) -> NDArray[Any]:
    """Which classes there are; of several labels which are on and which off somewhere; which scales vary."""
    if metric.task in ("dimensional", "sentiment"):
        unknown = np.isnan(target)
        low, high = np.where(unknown, np.inf, target).min(0), np.where(unknown, -np.inf, target).max(0)
        return np.asarray(low < high)
    if target.ndim == 1:
        return np.unique(target)
    return np.stack(((target == 1).any(0), (target == 0).any(0)))


def bootstrap_interval(
    score: Callable[[Ints], float],
    items: int,
    groups: Sequence[str | None] | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Interval of a score over resampled groups (cluster bootstrap).

    Utterances of one speaker resemble each other, so whole speakers are drawn: drawing utterances would give intervals
    that are too narrow.

    Percentiles of the resamples, unless the score is biased: the calibration error is above zero by chance alone, more
    so in resamples, whose percentiles may lie above the score as a whole. Where the resamples' mean is off by more than
    a quarter of their standard deviation (Efron and Tibshirani 1993, chapter 10), the interval is mirrored at the score
    (the basic interval: Davison and Hinkley 1997, section 5.2), which takes the bias off. In simulations with 240
    predictions of a calibrated classifier, percentiles of the calibration error never held the truth, mirrored ones did
    in 54 % of the cases; for accuracy and F1 of few items percentiles were the better ones. The score itself is always
    inside.

    Args:
        score: gives the score of the items with these indices (an index may repeat).
        items: how many there are.
        groups: each item's group; None, or an item with None, is a group of its own.
        resamples: how many draws.
        level: share of draws inside the interval.
        seed: fixes the draws.
        bounds: lowest and highest value that the score can have.

    Raises:
        EvaluationError: with fewer than two groups, or when the score is undefined in more than half of the draws.
    """
    names = [f"item {i}" if groups is None or groups[i] is None else f"group {groups[i]}" for i in range(items)]
    _, which = np.unique(np.asarray(names), return_inverse=True)
    members: list[NDArray[Any]] = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    if len(members) < 2:
        raise EvaluationError("an interval needs at least two groups (speakers)")
    rng = np.random.default_rng(seed)
    singles = np.concatenate(members) if len(members) == items else None
    values = []
    for _ in range(resamples):
        drawn = rng.integers(len(members), size=len(members))
        try:
            values.append(score(singles[drawn] if singles is not None else np.concatenate([members[i] for i in drawn])))
        except EvaluationError:
            continue
    if len(values) * 2 < resamples:
        raise EvaluationError(f"the score is undefined in {resamples - len(values)} of {resamples} resamples")
    value = score(np.arange(items))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
    if abs(np.mean(values) - value) > _NEGLIGIBLE * np.std(values):
        low, high = max(2 * value - high, bounds[0]), min(2 * value - low, bounds[1])
    return Interval(min(low, value), max(high, value), level, len(members), resamples, resamples - len(values))
