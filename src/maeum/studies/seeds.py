"""Scores of one network trained from several seeds, on the same items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from maeum.errors import ConfigError, EvaluationError
from maeum.evaluation.base import METRICS, Floats, Ints
from maeum.evaluation.intervals import UNBOUNDED, Bounds, Interval, format_score, score_interval, score_of_items
from maeum.evaluation.thresholds import Thresholds
from maeum.labels import LabelSet
from maeum.runs.evaluate import Evaluation


@dataclass(frozen=True)
class SeededScore:
    """A mean over seeds, or the difference of two such means."""

    value: float
    seeds: tuple[float, ...]
    """Of each seed."""
    interval: Interval | None
    """Over speakers (items where they are not known) and seeds; None where it was not asked for, or there are too few
    speakers."""

    def format(self, form: str = ".3f") -> str:
        """As it is printed in one cell: ``0.653 (0.640 to 0.668)``."""
        return format_score(self.value, self.interval, form)


def judged_outputs(metric: str, run: Evaluation) -> Floats:
    """What a metric takes, ``(n, labels)``: outputs, or what was decided at thresholds."""
    label_set = LabelSet.from_dict(run.report.label_set)
    outputs: Floats = label_set.activate(run.predictions.logits.double()).numpy()
    thresholds = run.report.thresholds
    decided = outputs if thresholds is None else Thresholds(thresholds).apply(outputs)
    return METRICS[metric].given(outputs, decided)


def over_seeds(metric: str, runs: Sequence[Evaluation], *, intervals: bool = True) -> SeededScore:
    """A metric's mean over runs that answered the same items.

    Raises:
        ConfigError: when there are none, or they answered other items.
    """
    bounds = (METRICS[metric].low, METRICS[metric].high)
    return mean_over_seeds(metric, [_scorers(metric, runs)], runs, bounds=bounds, intervals=intervals)


def difference_over_seeds(
    metric: str, runs: Sequence[Evaluation], others: Sequence[Evaluation], *, intervals: bool = True
) -> SeededScore:
    """The mean of ``runs`` minus that of ``others``, on the same items; see `over_seeds`."""
    sides = [_scorers(metric, runs), _scorers(metric, others)]
    reach = METRICS[metric].high - METRICS[metric].low
    return mean_over_seeds(metric, sides, [*runs, *others], bounds=(-reach, reach), intervals=intervals)


def _scorers(metric: str, runs: Sequence[Evaluation]) -> list[Callable[[Ints], float]]:
    return [score_of_items(METRICS[metric], judged_outputs(metric, r), r.predictions.target.numpy()) for r in runs]


def mean_over_seeds(
    name: str,
    sides: Sequence[Sequence[Callable[[Ints], float]]],
    runs: Sequence[Evaluation],
    *,
    bounds: Bounds = UNBOUNDED,
    intervals: bool = True,
) -> SeededScore:
    """The mean over seeds of a statistic of items; of the first side, minus that of the second if there is one.

    The interval takes in both how speakers differ and, where there are several seeds, how these do.

    Args:
        name: of the statistic, for errors.
        sides: for each seed, the statistic as a function of the indices of items; one or two such.
        runs: all evaluations that it is of.
        bounds: lowest and highest value of the statistic, or of the difference.
        intervals: whether there is an interval.

    Raises:
        ConfigError: when there are none, or they answered other items.
    """
    if not all(sides):
        raise ConfigError("there is nothing to score", item=name)
    first = runs[0].predictions
    if other := next((run for run in runs if run.predictions.ids != first.ids), None):
        raise ConfigError("answered other items", item=other.model, remedy="Score all on one part of one store.")
    whole = np.arange(len(first.ids))
    values = [[score(whole) for score in side] for side in sides]

    def mean(items: Ints) -> float:
        means = [fmean(score(items) for score in side) for side in sides]
        return means[0] - sum(means[1:])

    interval = None
    if intervals:
        with suppress(EvaluationError):
            interval = score_interval(mean, len(whole), first.groups, bounds=bounds, runs=values)
    paired = len({len(side) for side in values}) == 1
    each = tuple(row[0] - sum(row[1:]) for row in zip(*values, strict=True)) if paired else ()
    return SeededScore(mean(whole), each, interval)


__all__ = ["SeededScore", "difference_over_seeds", "judged_outputs", "mean_over_seeds", "over_seeds"]
