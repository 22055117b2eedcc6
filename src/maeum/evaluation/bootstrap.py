"""How sure a score is: intervals from drawing groups (speakers) again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import Ints


@dataclass(frozen=True)
class Interval:
    """low..high holds the score in ``level`` of the resamples. groups: how many were drawn from.

    undefined: resamples in which the score was undefined, left out of the percentiles.
    """

    low: float
    high: float
    level: float
    groups: int
    resamples: int
    undefined: int


def bootstrap_interval(
    score: Callable[[Ints], float],
    items: int,
    groups: Sequence[str | None] | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of a score over resampled groups (cluster bootstrap).

    Utterances of one speaker resemble each other, so whole speakers are drawn: drawing utterances would give intervals
    that are too narrow.

    Args:
        score: gives the score of the items with these indices (an index may repeat).
        items: how many there are.
        groups: each item's group; None, or an item with None, is a group of its own.
        resamples: how many draws.
        level: share of draws inside the interval.
        seed: fixes the draws.

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
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, len(members), resamples, resamples - len(values))
