"""How sure a score is: intervals from leaving out one group (speaker) at a time.

Utterances of one speaker resemble each other, so speakers count, not utterances. The delete-one-group jackknife (Efron
and Stein 1981; Cameron and Miller 2015, section VI) gives the standard error of any score, and Student's t makes the
interval wide enough where groups are few. A bootstrap over speakers does not: its 95 % intervals hold the truth in
about 70 % of the cases with three speakers (``docs/adr/0108-intervals-from-few-speakers.md``; by
``benchmarks/intervals.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Floats, Ints, Metric
from maeum.wording import counted

#: Below so many groups there is no interval: two say next to nothing about how groups differ.
FEWEST_GROUPS = 3
#: Below so many groups a reader is warned.
FEW_GROUPS = 10
#: What an interval is, for passports.
METHOD = "jackknife over groups, Student's t with effective groups minus one degrees of freedom, on log-odds"
#: More groups than this are put together at random in so many blocks, of which one at a time is left out.
_MOST_BLOCKS = 200
#: A bias of fewer standard errors than this does not matter.
_NEGLIGIBLE_BIAS = 0.25
_LEVEL = 0.95

Bounds = tuple[float, float]
UNBOUNDED: Bounds = (-math.inf, math.inf)


@dataclass(frozen=True)
class Interval:
    """Range that holds, in about ``level`` of all cases, the score that endless data of this kind would give.

    It always contains the measured score. Of a score that is biased (the calibration error above all) it is rougher
    than ``level`` says.
    """

    low: float
    high: float
    level: float
    groups: int
    """From how many groups (speakers, or items without one) it was computed."""

    def format(self, form: str = ".3f") -> str:
        """As it is printed: ``0.658 to 0.696``."""
        return f"{self.low:{form}} to {self.high:{form}}"


def format_score(value: float, interval: Interval | None, form: str = ".3f") -> str:
    """A value and its interval, where there is one, in one cell: ``0.679 (0.658 to 0.696)``."""
    return f"{value:{form}}" + ("" if interval is None else f" ({interval.format(form)})")


def score_of_items(metric: Metric, outputs: Floats, target: NDArray[Any]) -> Callable[[Ints], float]:
    """A metric as a function of the indices of items, for `score_interval`.

    A mean over classes stays one over the same classes: of items that lack a class which all items together have, the
    score is undefined (EvaluationError), not a mean over the other classes.

    Args:
        metric: see `Metric`.
        outputs: what its function takes, of all items.
        target: of all items.
    """
    whole = _classes_with_items(metric, target)

    def score(items: Ints) -> float:
        try:
            return metric.function(outputs[items], target[items], "error")
        except EvaluationError:
            if not np.array_equal(_classes_with_items(metric, target[items]), whole):
                raise
            return metric.function(outputs[items], target[items], "exclude")

    return score


def _classes_with_items(metric: Metric, target: NDArray[Any]) -> NDArray[Any]:
    """The classes of the items; of several labels which are on and which off somewhere; which scales vary."""
    if metric.task in ("dimensional", "sentiment"):
        unknown = np.isnan(target)
        low, high = np.where(unknown, np.inf, target).min(0), np.where(unknown, -np.inf, target).max(0)
        return np.asarray(low < high)
    if target.ndim == 1:
        return np.unique(target)
    return np.stack(((target == 1).any(0), (target == 0).any(0)))


def score_interval(
    score: Callable[[Ints], float],
    items: int,
    groups: Sequence[str | None] | None = None,
    *,
    bounds: Bounds = UNBOUNDED,
    runs: Sequence[Sequence[float]] = (),
    level: float = _LEVEL,
    seed: int = 0,
) -> Interval:
    """95 % interval of a score of items that come in groups.

    Args:
        score: gives the score of the items with these indices.
        items: how many there are.
        groups: each item's group; None, or an item with None, is a group of its own.
        bounds: lowest and highest value that the score can have.
        runs: for a mean over several trainings the score of each, and for a difference those of both sides; how they
            differ widens the interval.
        level: share of cases in which the truth is inside.
        seed: of the blocks that more than 200 groups are put together in.

    Raises:
        EvaluationError: with fewer than three groups, or when the score is undefined without one of them.
    """
    names = [f"item {i}" if groups is None or groups[i] is None else f"speaker {groups[i]}" for i in range(items)]
    known, group = np.unique(np.asarray(names), return_inverse=True)
    if len(known) < FEWEST_GROUPS:
        raise EvaluationError(f"an interval needs at least {FEWEST_GROUPS} groups (speakers), not {len(known)}")
    block = group
    if len(known) > _MOST_BLOCKS:
        dealt = np.random.default_rng(seed).permutation(len(known)) % _MOST_BLOCKS
        block = dealt[group]
    sizes = np.bincount(block).astype(np.float64)
    value, without = score(np.arange(items)), np.empty(len(sizes))
    for number in range(len(sizes)):
        try:
            without[number] = score(np.flatnonzero(block != number))
        except EvaluationError as error:
            alone = ", ".join(known[np.unique(group[block == number])].tolist()[:3])
            raise EvaluationError(f"it rests on {alone} alone, without which {error.problem}") from error
    low, high = jackknife(value, without, sizes, bounds=bounds, runs=runs, level=level)
    return Interval(low, high, level, len(known))


def jackknife(
    value: float,
    without: Floats,
    sizes: Floats,
    *,
    bounds: Bounds = UNBOUNDED,
    runs: Sequence[Sequence[float]] = (),
    level: float = _LEVEL,
) -> tuple[float, float]:
    """The interval of a score from its values without each group.

    A score with two bounds is taken as log-odds, half an item added on both sides (Haldane 1956; Anscombe 1956): near
    a bound scores are skewed, and the interval reaches further towards the middle. The degrees of freedom are the
    effective number of groups minus one, ``sum(sizes)^2 / sum(sizes^2) - 1`` (Kish 1965): where one speaker has most
    of the items, the others say little. Of several trainings the variance between them is added, with the degrees of
    freedom of Satterthwaite (1946). Where the jackknife finds a bias of more than a quarter of the standard error,
    the interval reaches to that of the corrected score.

    Args:
        value: of all items.
        without: of all items but those of each group, ``(groups,)``.
        sizes: items of each group, ``(groups,)``.
        bounds: see `score_interval`.
        runs: see `score_interval`.
        level: see `score_interval`.
    """
    count, items = len(without), float(sizes.sum())
    logits = math.isfinite(bounds[0]) and math.isfinite(bounds[1])

    def scale(score: Any, of: Any) -> Any:
        if not logits:
            return score
        above = (score - bounds[0]) / (bounds[1] - bounds[0]) * of
        return np.log(above + 0.5) - np.log(of - above + 0.5)

    def back(place: float) -> float:
        if not logits:
            return float(np.clip(place, *bounds))
        return bounds[0] + (bounds[1] - bounds[0]) / (1 + math.exp(-place))

    centre, rest = float(scale(value, items)), scale(without, items - sizes)
    variances = [((count - 1) / count * float(((rest - centre) ** 2).sum()), items**2 / float((sizes**2).sum()) - 1)]
    for side in runs:
        if len(side) > 1:
            variances.append((float(scale(np.asarray(side), items).var(ddof=1)) / len(side), len(side) - 1))
    error, t = _error(variances, level)
    low, high = back(centre - t * error), back(centre + t * error)
    plain = math.sqrt((count - 1) / count * float(((without - value) ** 2).sum()))
    corrected = count * value - (count - 1) * float(without.mean())
    if abs(corrected - value) > _NEGLIGIBLE_BIAS * plain:
        low = min(low, max(corrected - t * plain, bounds[0]))
        high = max(high, min(corrected + t * plain, bounds[1]))
    return min(low, value), max(high, value)


def _error(variances: Sequence[tuple[float, float]], level: float) -> tuple[float, float]:
    """The standard error from variances and their degrees of freedom, and the t that belongs to it."""
    total = sum(variance for variance, _ in variances)
    if total == 0:
        return 0.0, 0.0
    freedom = total**2 / sum(variance**2 / max(own, 1.0) for variance, own in variances)
    return math.sqrt(total), student_t(level, freedom)


@lru_cache(maxsize=4096)
def student_t(level: float, freedom: float) -> float:
    """The t between whose negative and itself a share ``level`` of Student's distribution lies, freedom 1 and above.

    With ``t = sqrt(freedom) tan(angle)`` the density of the angle is ``cos(angle) ** (freedom - 1)``.
    """
    angles = np.linspace(0.0, math.pi / 2, 8001)
    density = np.cos(angles) ** (max(freedom, 1.0) - 1)
    share = np.concatenate(([0.0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return float(math.sqrt(max(freedom, 1.0)) * math.tan(np.interp(level, share / share[-1], angles)))


def few_groups_warning(groups: int | None, alone: int = 0) -> str:
    """What a reader of scores from few speakers has to know; empty where they are many.

    Args:
        groups: how many speakers there are; None where they are not known.
        alone: items without a speaker beside them, each a group of its own.
    """
    if groups is None or groups + alone >= FEW_GROUPS:
        return ""
    if groups + alone < FEWEST_GROUPS:
        return f"no intervals: {counted(groups, 'speaker')} only, where at least {FEWEST_GROUPS} are needed"
    return f"{counted(groups, 'speaker')} only: intervals are wide, and a few other people might change them much"


__all__ = [
    "FEWEST_GROUPS",
    "FEW_GROUPS",
    "METHOD",
    "Interval",
    "few_groups_warning",
    "jackknife",
    "score_interval",
    "score_of_items",
    "student_t",
]
