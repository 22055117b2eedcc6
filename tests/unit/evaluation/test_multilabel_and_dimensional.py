"""Scores of several labels and of scales."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from maeum.errors import EvaluationError
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
