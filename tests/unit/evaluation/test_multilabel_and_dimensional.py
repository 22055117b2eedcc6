"""Scores of several labels and of scales."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sk

from maeum.errors import EvaluationError
from maeum.evaluation import METRICS
from maeum.evaluation.calibration import fit_margins
from maeum.evaluation.dimensional import concordance, mean_absolute_error, pearson
from maeum.evaluation.multilabel import label_accuracy, label_f1, weighted_accuracy
from maeum.evaluation.thresholds import GRID, choose_thresholds


@pytest.fixture
def many() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    target = (rng.random((300, 6)) < np.linspace(0.05, 0.7, 6)).astype(float)
    return np.where(rng.random((300, 6)) < 0.7, target, 1 - target), target


def test_labels_equal_scikit_learn(many: tuple[np.ndarray, np.ndarray]):
    preds, target = many
    assert label_f1(preds, target) == pytest.approx(list(sk.f1_score(target, preds, average=None)), abs=1e-9)
    expected = [sk.balanced_accuracy_score(target[:, i], preds[:, i]) for i in range(6)]
    assert weighted_accuracy(preds, target) == pytest.approx(expected, abs=1e-9)
    expected = [sk.accuracy_score(target[:, i], preds[:, i]) for i in range(6)]
    assert label_accuracy(preds, target) == pytest.approx(expected, abs=1e-9)


def test_weighted_accuracy_by_hand():
    # P = 1, N = 3, TP = 1, TN = 2: (1 * 3 / 1 + 2) / 6.
    assert weighted_accuracy([[1], [1], [0], [0]], [[1], [0], [0], [0]]) == [pytest.approx(5 / 6)]
    assert weighted_accuracy([[0]] * 4, [[1], [0], [0], [0]]) == [0.5]
    assert weighted_accuracy([[0], [1]], [[1], [1]]) == [None]
    assert label_f1([[0], [0]], [[0], [0]]) == [None]


def test_probabilities_are_not_decisions():
    with pytest.raises(EvaluationError, match="predictions are not 0 or 1"):
        label_f1([[0.3]], [[1]])


def test_thresholds_find_the_best_f1(many: tuple[np.ndarray, np.ndarray]):
    _, target = many
    probs = np.clip(target * 0.3 + np.random.default_rng(1).random(target.shape) * 0.5, 0, 1)
    chosen = choose_thresholds(probs, target)
    for label in range(6):
        scores = [sk.f1_score(target[:, label], probs[:, label] > t, zero_division=0) for t in GRID]
        assert chosen.dev_f1[label] == pytest.approx(max(scores), abs=1e-9)
        assert scores[GRID.index(chosen.values[label])] == pytest.approx(max(scores), abs=1e-9)
    np.testing.assert_array_equal(chosen.apply(probs)[:, 0], probs[:, 0] > chosen.values[0])
    with pytest.raises(EvaluationError, match="2 labels for 6 thresholds"):
        chosen.apply([[0.1, 0.2]])


def test_thresholds_without_positives_stay_in_the_middle():
    chosen = choose_thresholds([[0.2], [0.9]], [[0], [0]])
    assert chosen.values == (0.5,)
    assert chosen.dev_f1 == (None,)


def test_equal_thresholds_prefer_the_middle():
    assert choose_thresholds([[0.1], [0.99]], [[0], [1]]).values == (0.5,)


def test_scales_against_numpy_and_by_hand():
    rng = np.random.default_rng(0)
    a = rng.normal(size=100)
    b = 0.5 * a + rng.normal(size=100)
    assert pearson(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert mean_absolute_error(a, b) == pytest.approx(sk.mean_absolute_error(b, a), abs=1e-12)
    by_hand = 2 * np.cov(a, b, ddof=0)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
    assert concordance(a, b) == pytest.approx(by_hand, abs=1e-12)
    assert concordance([1, 2, 3], [2, 3, 4]) == pytest.approx(2 * (2 / 3) / (4 / 3 + 1))
    assert concordance(a, a) == pytest.approx(1.0)
    assert concordance(a, -a) < -0.9


def test_constants_have_no_correlation():
    with pytest.raises(EvaluationError, match="constant"):
        pearson([1, 1, 1], [1, 2, 3])
    with pytest.raises(EvaluationError, match="concordance is undefined"):
        concordance([1, 1], [1, 1])
    assert concordance([1, 1], [1, 2]) == 0.0
    with pytest.raises(EvaluationError, match="2 predictions for 3 targets"):
        concordance([1, 2], [1, 2, 3])


@pytest.mark.parametrize(
    ("name", "score"), [("mean_ccc", concordance), ("mean_pearson", pearson), ("mean_mae", mean_absolute_error)]
)
def test_each_scale_is_scored_on_the_items_that_have_a_value(name: str, score: Callable[..., float]):
    rng = np.random.default_rng(3)
    preds, target = rng.random((40, 2)), rng.random((40, 2))
    target[:10, 0] = target[30:, 1] = np.nan
    expected = (score(preds[10:, 0], target[10:, 0]) + score(preds[:30, 1], target[:30, 1])) / 2
    assert METRICS[name].function(preds, target, "error") == pytest.approx(expected, abs=1e-12)
    target[:, 1] = np.nan
    with pytest.raises(EvaluationError, match="have no value"):
        METRICS[name].function(preds, target, "error")
    alone = score(preds[10:, 0], target[10:, 0])
    assert METRICS[name].function(preds, target, "exclude") == pytest.approx(alone, abs=1e-12)


def test_margins_hold_the_promised_share_of_new_items():
    """Whatever the errors look like: over many fits the mean share is 90 %, and a little more for small dev sets."""
    rng = np.random.default_rng(0)
    for items in (9, 40, 200):
        inside = []
        for _ in range(2000 // items * 5 + 200):
            errors = rng.standard_t(2, size=(items + 50, 1)) * 1.7
            (margin,) = fit_margins(np.zeros((items, 1)), errors[:items])
            inside.append((np.abs(errors[items:]) <= margin).mean())
        promised = np.ceil(0.9 * (items + 1)) / (items + 1)
        assert np.mean(inside) == pytest.approx(promised, abs=0.012), items


def test_margins_of_each_scale_are_of_the_items_that_have_a_value():
    target = np.full((20, 3), np.nan)
    target[:9, 0], target[:, 1], target[:8, 2] = np.arange(9), 2.0, 1.0
    assert fit_margins(np.zeros((20, 3)), target) == (8.0, 2.0, None)
    with pytest.raises(EvaluationError, match="1 predictions for 2 targets"):
        fit_margins([[0.0]], [[0.0], [1.0]])
