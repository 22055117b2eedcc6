"""Accuracies of sentiment as classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from maeum.errors import EvaluationError
from maeum.evaluation.base import METRICS
from maeum.evaluation.sentiment import accuracy_2_nonnegative, accuracy_2_nonzero, accuracy_5, accuracy_7


def test_seven_and_five_classes_by_hand():
    preds = [-3.4, -2.6, 0.4, 1.2, 3.9, 2.2]
    target = [-3.0, -2.0, 0.0, 2.0, 3.0, 3.0]
    assert accuracy_7(preds, target) == pytest.approx(3 / 6)  # -3, 0 and 3 are right
    assert accuracy_5(preds, target) == pytest.approx(5 / 6)  # -2 and 2 are the ends; only 1.2 for 2 is wrong


def test_halves_round_to_the_even_class():
    assert accuracy_7([0.5, 1.5, 2.5, -0.5], [0, 2, 2, 0]) == 1.0


def test_two_things_called_acc_2():
    preds = [-1.0, 1.0, 0.5, -0.5, 0.0, 0.0]
    target = [-2.0, 2.0, 0.0, 0.0, -1.0, 1.0]
    # Non-negative: -, +, + for 0, wrong - for 0, wrong + for -, + for +.
    assert accuracy_2_nonnegative(preds, target) == pytest.approx(4 / 6)
    # Non-zero: the two targets of 0 are left out, a prediction of 0 is negative.
    assert accuracy_2_nonzero(preds, target) == (pytest.approx(3 / 4), 2)


def test_equal_scikit_learn():
    rng = np.random.default_rng(0)
    target = rng.integers(-9, 10, 500) / 3
    preds = target + rng.normal(size=500)
    for score, end in ((accuracy_7, 3), (accuracy_5, 2)):
        classes = [np.round(np.clip(x, -end, end)).astype(int) for x in (target, preds)]
        assert score(preds, target) == pytest.approx(sk.accuracy_score(*classes), abs=1e-9)
    assert accuracy_2_nonnegative(preds, target) == pytest.approx(sk.accuracy_score(target >= 0, preds >= 0), abs=1e-9)
    some = target != 0
    expected = sk.accuracy_score(target[some] > 0, preds[some] > 0)
    assert accuracy_2_nonzero(preds, target) == (pytest.approx(expected, abs=1e-9), int((~some).sum()))
    for name, value in (("7", accuracy_7(preds, target)), ("2_nonzero", expected)):
        metric = METRICS[f"sentiment_accuracy_{name}"]
        assert metric.function(preds[:, None], target[:, None], "error") == pytest.approx(value, abs=1e-12)


def test_neutral_items_alone_have_no_negative_or_positive():
    with pytest.raises(EvaluationError, match=r"all 2 targets are 0.*use accuracy_2_nonnegative"):
        accuracy_2_nonzero([1.0, -1.0], [0.0, 0.0])


def test_other_scales_are_refused():
    with pytest.raises(EvaluationError, match=r"item 1: the target 4 is not in -3..3.*Scale targets"):
        accuracy_7([1.0, 2.0], [3.0, 4.0])
    with pytest.raises(EvaluationError, match="are not one scale"):
        METRICS["sentiment_accuracy_7"].function(np.zeros((2, 2)), np.zeros((2, 2)), "error")
