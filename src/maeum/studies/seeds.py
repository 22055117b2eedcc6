"""Scores of one network trained from several seeds, on the same items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from maeum.errors import ConfigError, EvaluationError
from maeum.evaluation.base import METRICS, Floats, Ints
from maeum.evaluation.bootstrap import Interval, bootstrap_interval, score_of_drawn
from maeum.evaluation.thresholds import Thresholds
from maeum.labels import LabelSet
from maeum.runs.evaluate import Evaluation


@dataclass(frozen=True)
class SeededScore:
    """A mean over seeds.

    seeds: of each. interval: over drawn speakers (items where they are not known) and drawn seeds; None where it was
    not asked for, or there are too few speakers.
    """

    value: float
    seeds: tuple[float, ...]
    interval: Interval | None

    def words(self, form: str = ".3f") -> str:
        """``0.653 (0.640 to 0.668)``."""
        return f"{self.value:{form}}" + ("" if self.interval is None else f" ({self.interval.words(form)})")


def given(metric: str, done: Evaluation) -> Floats:
    """What a metric takes, ``(n, labels)``."""
    outputs: Floats = LabelSet.from_dict(done.report.label_set).activate(done.predictions.logits.double()).numpy()
    thresholds = done.report.thresholds
    decided = outputs if thresholds is None else Thresholds(thresholds).apply(outputs)
    return METRICS[metric].given(outputs, decided)


def over_seeds(metric: str, runs: Sequence[Evaluation], resamples: int = 1000) -> SeededScore:
    """A metric's mean over runs that answered the same items.

    Of few seeds the interval is somewhat narrow: drawn with replacement, two differ less than two new ones would.

    Raises:
        ConfigError: when there are none, or they answered other items.
    """
    return mean_over_seeds(metric, [_scorers(metric, runs)], runs, resamples)


def difference_over_seeds(
    metric: str, runs: Sequence[Evaluation], others: Sequence[Evaluation], resamples: int = 1000
) -> SeededScore:
    """The mean of ``runs`` minus that of ``others``, on the same items and drawn speakers; see `over_seeds`."""
    return mean_over_seeds(metric, [_scorers(metric, runs), _scorers(metric, others)], [*runs, *others], resamples)


def _scorers(metric: str, runs: Sequence[Evaluation]) -> list[Callable[[Ints], float]]:
    return [score_of_drawn(METRICS[metric], given(metric, run), run.predictions.target.numpy()) for run in runs]


def mean_over_seeds(
    name: str, sides: Sequence[Sequence[Callable[[Ints], float]]], runs: Sequence[Evaluation], resamples: int = 1000
) -> SeededScore:
    """The mean over seeds of whatever can be said of drawn items; of the first side, minus the second if there is one.

    Args:
        name: of what is said, for errors.
        sides: for each seed, what is said of the items with these indices; one or two such.
        runs: all that were asked.
        resamples: draws for the interval; 0 leaves it out.

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
    rng = np.random.default_rng(0)

    def of(drawn: Ints) -> float:
        if np.array_equal(drawn, whole):
            means = [fmean(side) for side in values]
        else:
            means = [fmean(side[i](drawn) for i in rng.integers(len(side), size=len(side))) for side in sides]
        return means[0] - sum(means[1:])

    interval = None
    if resamples:
        try:
            interval = bootstrap_interval(of, len(whole), first.groups, resamples=resamples)
        except EvaluationError:
            interval = None
    if len(values) == 1 or len(values[0]) == len(values[1]):
        each = tuple(row[0] - sum(row[1:]) for row in zip(*values, strict=True))
    else:
        each = ()
    return SeededScore(of(whole), each, interval)


__all__ = ["SeededScore", "difference_over_seeds", "given", "mean_over_seeds", "over_seeds"]
