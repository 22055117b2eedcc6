"""Prediction sets keep what they promise: against brute force, and in simulations with people who differ."""

from __future__ import annotations

import numpy as np
import pytest

from maeum.errors import EvaluationError
from maeum.evaluation.conformal import fit_coverage, prediction_sets


def answers(
    rng: np.random.Generator, people: int, each: int, spread: float
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Probabilities of a model that is good for some people and bad for others, true labels, and whose they are."""
    skill = rng.normal(1.0, spread, people).repeat(each)
    target = rng.integers(0, 4, people * each)
    logits = rng.normal(0, 1, (people * each, 4))
    logits[np.arange(len(target)), target] += skill
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probs, target, [str(i) for i in np.arange(people).repeat(each)]


def test_the_threshold_is_the_order_statistic_of_split_conformal_prediction() -> None:
    rng = np.random.default_rng(0)
    for n in (9, 37, 100, 101):
        probs, target, _ = answers(rng, n, 1, 0.0)
        of_true = np.sort(probs[np.arange(n), target])
        allowed = int(np.floor(0.1 * (n + 1) + 1e-9))  # of n + 1 exchangeable items, so many may lie below
        assert fit_coverage(probs, target, 0.9).threshold == of_true[allowed - 1]


def test_new_items_are_covered() -> None:
    """100 items, coverage 0.9: over 400 calibrations the mean coverage is 0.9, and never far above."""
    rng, covered = np.random.default_rng(1), []
    for _ in range(400):
        probs, target, _ = answers(rng, 300, 1, 0.5)
        fit = fit_coverage(probs[:100], target[:100], 0.9)
        covered.append(prediction_sets(probs[100:], fit.threshold)[np.arange(200), target[100:]].mean())
    assert 0.89 < np.mean(covered) < 0.93


def test_new_people_are_covered_where_there_are_enough() -> None:
    """People who differ much: what counts items alike, of three people, falls short; what counts people alike holds."""
    rng, by_people, by_items = np.random.default_rng(2), [], []
    for _ in range(400):
        probs, target, people = answers(rng, 13, 20, 1.5)
        new = slice(240, 260)  # the thirteenth person
        for found, known in ((by_people, people[:240]), (by_items, None)):
            fit = fit_coverage(probs[:240], target[:240], 0.9, known)
            assert fit.new_people == (known is not None)
            found.append(prediction_sets(probs[new], fit.threshold)[np.arange(20), target[new]].mean())
    assert np.mean(by_people) > 0.895
    assert np.mean(by_people) > np.mean(by_items)


def test_few_people_promise_nothing_about_new_ones() -> None:
    probs, target, people = answers(np.random.default_rng(3), 8, 20, 0.0)
    fit = fit_coverage(probs, target, 0.9, people)
    assert not fit.new_people
    assert fit.people == 8
    assert fit_coverage(
        *answers(np.random.default_rng(3), 9, 20, 0.0)[:2], 0.9, [str(i // 20) for i in range(180)]
    ).new_people


def test_equal_probabilities_are_not_split() -> None:
    fit = fit_coverage([[0.5, 0.5]] * 20, [0] * 20, 0.9)
    assert fit.threshold == 0.5
    assert prediction_sets([[0.5, 0.5]], fit.threshold).tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("items", "coverage", "part"), [(8, 0.9, "9 are the fewest"), (100, 0.3, "0.5"), (100, float("nan"), "0.5")]
)
def test_what_cannot_be_promised(items: int, coverage: float, part: str) -> None:
    with pytest.raises(EvaluationError, match=part):
        fit_coverage([[0.5, 0.5]] * items, [0] * items, coverage)
