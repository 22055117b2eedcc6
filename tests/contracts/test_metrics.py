"""What every registered metric has to keep: range, direction, no NaN, independence of order."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest

from maeum.errors import EvaluationError
from maeum.evaluation import METRICS

NAMES = list(METRICS)


def perfect(task: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outputs that are exactly right, and their targets; every class and both answers occur."""
    rng = np.random.default_rng(seed)
    if task == "single-label":
        target = rng.permutation(np.arange(60) % 5)
        return np.eye(5)[target], target
    if task in ("multi-label", "ranking"):
        target = rng.permutation(np.tile(np.eye(5), (12, 1)))
        return target, target
    target = rng.normal(size=(60, 3)).clip(-3, 3)
    if task == "sentiment":
        target = target[:, :1]
    return target, target


def noisy(task: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    outputs, target = perfect(task, seed)
    noise = np.random.default_rng(seed + 100).random(outputs.shape)
    mixed = 0.4 * outputs + 0.6 * noise
    return (mixed / mixed.sum(1, keepdims=True) if task == "single-label" else mixed), target


@pytest.mark.parametrize("name", NAMES)
class TestEveryMetric:
    def test_perfect_is_the_best_end_of_the_range(self, name: str):
        metric = METRICS[name]
        best = metric.high if metric.higher_is_better else metric.low
        assert metric.function(*perfect(metric.task), "error") == pytest.approx(best, abs=1e-9)

    def test_stays_in_range_and_is_worse_with_noise(self, name: str):
        metric = METRICS[name]
        best = metric.function(*perfect(metric.task), "error")
        for seed in range(5):
            value = metric.function(*noisy(metric.task, seed), "error")
            assert isinstance(value, float)
            assert metric.low <= value <= metric.high
            assert value < best if metric.higher_is_better else value > best

    def test_order_of_items_does_not_matter(self, name: str):
        metric = METRICS[name]
        outputs, target = noisy(metric.task, 0)
        order = np.random.default_rng(5).permutation(len(target))
        assert metric.function(outputs[order], target[order], "error") == pytest.approx(
            metric.function(outputs, target, "error"), abs=1e-12
        )

    def test_never_nan(self, name: str):
        metric = METRICS[name]
        outputs, target = noisy(metric.task, 0)
        with pytest.raises(EvaluationError):
            metric.function(outputs[:0], target[:0], "error")
        with pytest.raises(EvaluationError):
            metric.function(np.full_like(outputs, np.nan), target, "error")
        with pytest.raises(EvaluationError):
            metric.function(outputs[:-1], target, "error")
        # One class only, one value only: a number, or a refusal.
        same = np.repeat(target[:1], len(target), axis=0)
        for absent in ("error", "exclude"):
            value = 0.0
            with contextlib.suppress(EvaluationError):
                value = metric.function(outputs, same, absent)
            assert math.isfinite(value)

    def test_says_what_it_is(self, name: str):
        metric = METRICS[name]
        assert metric.name == name
        assert len(metric.definition) > 20
        assert metric.low < metric.high
