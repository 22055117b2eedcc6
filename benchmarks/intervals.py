"""How often 95 % intervals hold the truth, and how wide they are: the jackknife beside resampled speakers.

    python benchmarks/intervals.py [--repeats 1000] [--seed 0]

Speakers are drawn from a population whose recalls differ from speaker to speaker and from class to class (random
effects on log-odds), with equal or very unequal numbers of items, at middling scores and near 1; and items without
speakers. The truth is the score of 40,000 speakers. For each number of groups, kind of data and score: the share of
intervals that hold the truth and their mean width, of `maeum.evaluation.intervals` (new) and of the percentiles of 400
resamples of speakers (old). Differences are of two models on the same items; "seeds" are means over trainings, each of
which makes every speaker easier or harder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from maeum.evaluation.intervals import jackknife

Floats = NDArray[np.float64]

CLASSES = 5
UNIT = (0.0, 1.0)
DIFFERENCE = (-1.0, 1.0)


@dataclass(frozen=True)
class Population:
    """Speakers to draw from.

    skill: log-odds of the mean recall. between_speakers, between_classes: standard deviations of the random effects.
    items: of a speaker, in the middle. unequal: standard deviation of their logarithm; classes are unequal too then.
    """

    skill: float
    between_speakers: float
    between_classes: float
    items: int = 60
    unequal: float = 0.0


POPULATIONS = {
    "middling": Population(0.65, 0.6, 0.6),
    "middling, very unequal": Population(0.65, 0.6, 0.6, unequal=0.8),
    "near 1": Population(3.2, 1.0, 0.7),
    "near 1, unequal": Population(3.2, 1.0, 0.7, unequal=0.6),
}


def logistic(x: Floats) -> Floats:
    """The inverse of log-odds."""
    return np.asarray(1 / (1 + np.exp(-x)))


def confusions(
    rng: np.random.Generator, groups: int, population: Population, models: int = 2, skills: Floats | None = None
) -> Floats:
    """Confusion matrices of drawn speakers by models that answer the same items, ``(models, groups, true, answered)``.

    skills: of each model, beside the population's; when None each is a little better than the one before it.
    """
    prior = np.full((groups, CLASSES), 1 / CLASSES)
    count = np.full(groups, population.items)
    if population.unequal:
        prior = rng.dirichlet([12, 4, 2.4, 6, 3], groups)
        count = np.maximum(count * np.exp(rng.normal(0, population.unequal, groups)), CLASSES).astype(int)
    true = rng.multinomial(count, prior) if population.unequal else (count[:, None] * prior).astype(int)
    ease = rng.normal(0, population.between_speakers, (groups, 1)) + np.linspace(-0.8, 0.8, CLASSES)
    ease = ease + rng.normal(0, population.between_classes, (groups, CLASSES))
    wrong = 1.0 - np.eye(CLASSES)
    wrong[:, 0] *= 3
    wrong /= wrong.sum(1, keepdims=True)
    better = 0.15 * np.arange(models) if skills is None else skills
    made = np.zeros((models, groups, CLASSES, CLASSES))
    for model in range(models):
        own = rng.normal(0, 0.6 * population.between_classes, (groups, CLASSES))
        hits = rng.binomial(true, logistic(population.skill + better[model] + ease + own))
        for one in range(CLASSES):
            made[model, :, one] = rng.multinomial(true[:, one] - hits[:, one], wrong[one])
            made[model, :, one, one] = hits[:, one]
    return made


def accuracy(counts: Floats) -> Floats:
    """Of confusion matrices ``(..., true, answered)``."""
    return np.asarray(np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-1, -2)))


def uar(counts: Floats) -> Floats:
    """Of confusion matrices; NaN where a class has no items."""
    with np.errstate(invalid="ignore"):
        return np.asarray((np.diagonal(counts, axis1=-2, axis2=-1) / counts.sum(-1)).mean(-1))


def macro_f1(counts: Floats) -> Floats:
    """Of confusion matrices; NaN where a class has no items."""
    both = counts.sum(-1) + counts.sum(-2)
    with np.errstate(invalid="ignore"):
        scores = 2 * np.diagonal(counts, axis1=-2, axis2=-1) / both
        return np.asarray(np.where((counts.sum(-1) > 0).all(-1), scores.mean(-1), np.nan))


def speaker_mean(counts: Floats) -> Floats:
    """Mean over speakers of each one's accuracy, of matrices ``(groups, true, answered)``, without each in turn."""
    each = accuracy(counts)
    return np.concatenate(([each.mean()], (each.sum() - each) / (len(each) - 1)))


SCORES = {"accuracy": accuracy, "uar": uar, "macro_f1": macro_f1}


def percentiles(values: Floats, value: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """The interval as it was until version 0.6: percentiles of resamples, mirrored at a biased score."""
    low, high = np.quantile(values, [0.025, 0.975]).tolist()
    if abs(values.mean() - value) > 0.25 * values.std():
        low, high = max(2 * value - high, bounds[0]), min(2 * value - low, bounds[1])
    return min(low, value), max(high, value)


@dataclass
class Tally:
    """Counts intervals that hold the truth."""

    truth: float
    held: int = 0
    count: int = 0
    width: float = 0.0

    def add(self, interval: tuple[float, float]) -> None:
        """Count one."""
        self.held += interval[0] <= self.truth <= interval[1]
        self.count += 1
        self.width += interval[1] - interval[0]

    @property
    def coverage(self) -> float:
        """Share that holds the truth."""
        return self.held / self.count

    def __str__(self) -> str:
        return f"{self.coverage:.3f} ({self.width / self.count:.3f} wide)"


@lru_cache
def truths_of(population: Population) -> dict[str, float]:
    """Each score of the population."""
    endless = confusions(np.random.default_rng(99), 40_000, population)
    whole = endless.sum(1)
    truths = {name: float(score(whole[0])) for name, score in SCORES.items()}
    truths["speaker mean"] = float(accuracy(endless[0]).mean())
    return truths | {f"{name}, difference": float(score(whole[1]) - score(whole[0])) for name, score in SCORES.items()}


@lru_cache
def seeded_truth(population: Population, spread: float) -> float:
    """The mean UAR of many trainings."""
    skills = spread * np.random.default_rng(97).normal(size=60)
    return float(uar(confusions(np.random.default_rng(98), 4000, population, 60, skills - skills.mean()).sum(1)).mean())


def pooled(
    population: Population, groups: int, repeats: int, rng: np.random.Generator, resamples: int = 0
) -> Iterator[tuple[str, Tally, Tally]]:
    """Scores of pooled items, a mean over speakers, and differences of two models: name, new, old intervals."""
    truths = truths_of(population)
    new, old = ({name: Tally(truth) for name, truth in truths.items()} for _ in range(2))
    for _ in range(repeats):
        made = confusions(rng, groups, population)
        sizes, total = made[0].sum((-1, -2)), made.sum(1)
        drawn = rng.multinomial(groups, np.full(groups, 1 / groups), resamples).astype(float)
        means = speaker_mean(made[0])
        new["speaker mean"].add(jackknife(means[0], means[1:], sizes, bounds=UNIT))
        if resamples:
            old["speaker mean"].add(percentiles(drawn @ accuracy(made[0]) / groups, means[0], UNIT))
        for name, score in SCORES.items():
            value, without = score(total), score(total[:, None] - made)
            if np.isnan(without).any():
                continue  # no interval is given
            new[name].add(jackknife(float(value[0]), without[0], sizes, bounds=UNIT))
            gap, gaps = float(value[1] - value[0]), without[1] - without[0]
            new[f"{name}, difference"].add(jackknife(gap, gaps, sizes, bounds=DIFFERENCE))
            if resamples:
                again = score(np.einsum("rg,mgij->mrij", drawn, made))
                again = again[:, ~np.isnan(again).any(0)]
                old[name].add(percentiles(again[0], float(value[0]), UNIT))
                old[f"{name}, difference"].add(percentiles(again[1] - again[0], gap, DIFFERENCE))
    for name in truths:
        yield name, new[name], old[name]


def seeded(
    population: Population, groups: int, seeds: int, repeats: int, rng: np.random.Generator, spread: float = 0.2
) -> Tally:
    """The mean over trainings of a network's UAR; a training's skill has the standard deviation ``spread``."""
    tally = Tally(seeded_truth(population, spread))
    for _ in range(repeats):
        made = confusions(rng, groups, population, seeds, spread * rng.normal(size=seeds))
        values, without = uar(made.sum(1)), uar(made.sum(1)[:, None] - made).mean(0)
        if not np.isnan(without).any():
            sizes = made[0].sum((-1, -2))
            tally.add(jackknife(float(values.mean()), without, sizes, bounds=UNIT, runs=[values.tolist()]))
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| data | groups | score | new: held (width) | old: held (width) |\n|---|---:|---|---:|---:|")
    cases = [(name, p, groups) for name, p in POPULATIONS.items() for groups in (3, 4, 5, 8, 10, 24)]
    alone = Population(0.65, 0.6, 0.6, items=1, unequal=1e-9)
    cases += [("items without speakers", alone, groups) for groups in (60, 200)]
    for name, population, groups in cases:
        rng = np.random.default_rng(arguments.seed)
        for score, new, old in pooled(population, groups, arguments.repeats, rng, resamples=400):
            print(f"| {name} | {groups} | {score} | {new} | {old} |", flush=True)
    for groups in (3, 4, 10, 24):
        for seeds in (2, 3, 5):
            rng = np.random.default_rng(arguments.seed)
            held = seeded(POPULATIONS["middling"], groups, seeds, arguments.repeats, rng)
            print(f"| middling | {groups} | uar, mean of {seeds} seeds | {held} | |", flush=True)


if __name__ == "__main__":
    main()
