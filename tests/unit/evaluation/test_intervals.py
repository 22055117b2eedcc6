"""Intervals hold the truth as often as they say, from three speakers on; simulated."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from maeum.errors import EvaluationError
from maeum.evaluation.intervals import few_groups_warning, jackknife, score_interval, student_t

REPEATS = 300


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    """The benchmark whose table is in docs/adr/0108."""
    path = Path(__file__).parents[3] / "benchmarks" / "intervals.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_intervals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("groups", [3, 4, 5, 8, 10, 24])
def test_intervals_hold_the_truth_from_three_speakers_on(simulation: ModuleType, groups: int):
    held: dict[str, list[float]] = {}
    for name, population in simulation.POPULATIONS.items():
        for score, new, _ in simulation.pooled(population, groups, REPEATS, np.random.default_rng(5)):
            assert new.count > 0.9 * REPEATS
            assert new.coverage >= 0.905, f"{name}, {score}: of {REPEATS} repeats"
            held.setdefault(score, []).append(new.coverage)
    means = {score: np.mean(of) for score, of in held.items()}
    assert min(means.values()) >= 0.93, means


def test_items_without_speakers_are_many_groups(simulation: ModuleType):
    alone = simulation.Population(0.65, 0.6, 0.6, items=1, unequal=1e-9)
    held = [new.coverage for _, new, _ in simulation.pooled(alone, 150, REPEATS, np.random.default_rng(1))]
    assert np.mean(held) >= 0.93


@pytest.mark.parametrize("groups", [4, 10, 24])
def test_means_over_seeds_hold_the_truth(simulation: ModuleType, groups: int):
    middling = simulation.POPULATIONS["middling"]
    held = [simulation.seeded(middling, groups, seeds, REPEATS, np.random.default_rng(1)) for seeds in (2, 3, 5)]
    assert min(one.coverage for one in held) >= 0.91
    assert np.mean([one.coverage for one in held]) >= 0.93


def test_the_old_intervals_would_be_found_out(simulation: ModuleType):
    """The simulation has teeth: percentiles of resampled speakers fail it."""
    rng = np.random.default_rng(0)
    for _, new, old in simulation.pooled(simulation.POPULATIONS["middling"], 4, 200, rng, resamples=200):
        assert old.coverage < 0.9
        assert old.width < new.width


def test_two_speakers_have_no_interval():
    with pytest.raises(EvaluationError, match="at least 3 groups"):
        score_interval(lambda items: 1.0, 4, ["a", "a", "b", "b"])
    assert score_interval(lambda items: 0.5, 3, ["a", "b", "c"]).groups == 3


def test_of_a_mean_with_equal_groups_it_is_the_t_interval_of_the_groups():
    groups = np.repeat(np.arange(6), 10)
    values = np.random.default_rng(0).normal(size=60) + groups
    interval = score_interval(lambda items: float(values[items].mean()), 60, groups.astype(str).tolist())
    means = values.reshape(6, 10).mean(1)
    low, high = stats.t.interval(0.95, 5, means.mean(), stats.sem(means))
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-4)


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 3.7, 10, 60, 199])
def test_student_t_is_that_of_scipy(freedom: float):
    assert student_t(0.95, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-5)


def test_the_interval_stays_in_the_range_and_holds_the_score():
    for of in (np.max, np.min):  # an extreme is biased as far as a score can be
        values = np.random.default_rng(0).random(100)
        interval = score_interval(lambda at, v=values, of=of: float(of(v[at])), 100, bounds=(0.0, 1.0))
        assert 0 <= interval.low <= of(values) <= interval.high <= 1
    speakers = [str(i // 20) for i in range(60)]
    perfect = score_interval(lambda items: 1.0, 60, speakers, bounds=(0.0, 1.0))
    assert perfect.high == 1
    assert 0.8 < perfect.low < 0.99, "60 items without an error do not prove that there are none"


def test_speakers_make_intervals_wider_than_utterances():
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(10), 30)
    right = rng.random(300) < np.linspace(0.3, 0.9, 10)[speaker]

    def score(items: np.ndarray) -> float:
        return float(right[items].mean())

    by_item = score_interval(score, 300)
    by_speaker = score_interval(score, 300, [f"s{s}" for s in speaker])
    assert (by_speaker.groups, by_item.groups) == (10, 300)
    assert by_speaker.high - by_speaker.low > 2 * (by_item.high - by_item.low)
    assert score_interval(score, 300) == by_item, "blocks are the same each time"
    assert score_interval(score, 300, seed=1) != by_item
    exact = 1.96 * right.std() / np.sqrt(300)
    assert (by_item.high - by_item.low) / 2 == pytest.approx(exact, rel=0.15)


def test_one_speaker_with_most_items_counts_as_few():
    without = np.array([0.6, 0.62, 0.64, 0.66])
    low, high = jackknife(0.63, without, np.full(4, 50.0), bounds=(0.0, 1.0))
    wide = jackknife(0.63, without, np.array([500.0, 10, 10, 10]), bounds=(0.0, 1.0))
    assert wide[1] - wide[0] > 1.5 * (high - low)


def test_seeds_that_differ_make_the_interval_wider():
    without, sizes = np.array([0.6, 0.62, 0.64, 0.66, 0.63]), np.full(5, 50.0)
    alone = jackknife(0.63, without, sizes, bounds=(0.0, 1.0), runs=[[0.63]])
    alike = jackknife(0.63, without, sizes, bounds=(0.0, 1.0), runs=[[0.63, 0.63, 0.63]])
    apart = jackknife(0.63, without, sizes, bounds=(0.0, 1.0), runs=[[0.53, 0.63, 0.73]])
    assert alone == pytest.approx(alike)
    assert apart[1] - apart[0] > alone[1] - alone[0]


def test_few_speakers_are_warned_of():
    assert few_groups_warning(None) == few_groups_warning(10) == few_groups_warning(4, 6) == ""
    assert "9 speakers only" in few_groups_warning(9)
    assert few_groups_warning(1) == "no intervals: 1 speaker only, where at least 3 are needed"
