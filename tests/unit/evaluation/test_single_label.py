"""Single-label scores against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from maeum.errors import EvaluationError
from maeum.evaluation.base import METRICS
from maeum.evaluation.metrics import (
    accuracy,
    class_table,
    confusion_matrix,
    f1,
    f1_per_class,
    one_vs_rest_accuracy,
    uar,
)
from maeum.evaluation.trivial import majority_score


def draw(seed: int, items: int = 200, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Predictions that are right half of the time, on unevenly distributed classes that all occur."""
    rng = np.random.default_rng(seed)
    share = np.arange(1, classes + 1, dtype=float)
    target = np.concatenate([np.arange(classes), rng.choice(classes, items - classes, p=share / share.sum())])
    preds = np.where(rng.random(items) < 0.5, target, rng.integers(0, classes, items))
    return preds, target


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_scikit_learn(seed: int):
    preds, target = draw(seed)
    assert accuracy(preds, target) == pytest.approx(sk.accuracy_score(target, preds), abs=1e-9)
    assert uar(preds, target, 7) == pytest.approx(sk.balanced_accuracy_score(target, preds), abs=1e-9)
    for average in ("macro", "weighted", "micro"):
        expected = sk.f1_score(target, preds, average=average)
        assert f1(preds, target, 7, average) == pytest.approx(expected, abs=1e-9)
    assert f1_per_class(preds, target, 7) == pytest.approx(list(sk.f1_score(target, preds, average=None)), abs=1e-9)
    np.testing.assert_array_equal(confusion_matrix(preds, target, 7), sk.confusion_matrix(target, preds))
    precision, recall, score, support = sk.precision_recall_fscore_support(target, preds)
    table = class_table(preds, target, list("abcdefg"))
    assert [row.precision for row in table] == pytest.approx(list(precision), abs=1e-9)
    assert [row.recall for row in table] == pytest.approx(list(recall), abs=1e-9)
    assert [row.f1 for row in table] == pytest.approx(list(score), abs=1e-9)
    assert [row.support for row in table] == list(support)
    for label, value in enumerate(one_vs_rest_accuracy(preds, target, 7)):
        assert value == pytest.approx(sk.accuracy_score(target == label, preds == label), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_absent_classes_excluded_as_scikit_learn_does_with_labels(seed: int):
    preds, target = draw(seed)
    target = np.where(target == 3, 4, target)  # class 3 is still predicted
    present = sorted(set(target))
    with pytest.raises(EvaluationError, match=r"classes \[3\] have no items"):
        uar(preds, target, 7)
    with pytest.raises(EvaluationError, match=r"classes \[3\] have no items"):
        f1(preds, target, 7)
    expected = sk.recall_score(target, preds, labels=present, average="macro")
    assert uar(preds, target, 7, absent="exclude") == pytest.approx(expected, abs=1e-9)
    expected = sk.f1_score(target, preds, labels=present, average="macro")
    assert f1(preds, target, 7, absent="exclude") == pytest.approx(expected, abs=1e-9)
    expected = sk.f1_score(target, preds, average="weighted", zero_division=0)
    assert f1(preds, target, 7, "weighted") == pytest.approx(expected, abs=1e-9)


def test_undefined_is_none_not_nan():
    table = class_table([0, 0], [0, 1], ["a", "b", "c"])
    assert [row.precision for row in table] == [0.5, None, None]
    assert [row.recall for row in table] == [1.0, 0.0, None]
    assert [row.f1 for row in table] == [pytest.approx(2 / 3), 0.0, None]
    assert f1_per_class([0], [0], 2) == [1.0, None]


def test_rows_are_true_and_columns_predicted():
    assert confusion_matrix([1, 1, 2], [0, 1, 1], 3).tolist() == [[0, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_never_saying_a_class_looks_good_one_vs_rest():
    # Six classes of equal size, always the first: what a published table can hide.
    target = np.repeat(np.arange(6), 10)
    preds = np.zeros(60, int)
    assert one_vs_rest_accuracy(preds, target, 6)[1:] == pytest.approx([5 / 6] * 5)
    assert uar(preds, target, 6) == pytest.approx(1 / 6)
    assert majority_score(METRICS["accuracy"], target, 6) == pytest.approx(1 / 6)


def test_tensors_arrays_and_lists_are_the_same():
    preds, target = draw(0)
    assert uar(torch.from_numpy(preds), torch.from_numpy(target), 7) == uar(preds.tolist(), target.tolist(), 7)


@pytest.mark.parametrize(
    ("preds", "target"),
    [([], []), ([0, 1], [0]), ([0, 7], [0, 1]), ([0, -1], [0, 1]), ([0.5, 1.0], [0, 1]), ([[0, 1]], [[0, 1]])],
)
def test_what_cannot_be_scored(preds: list[float], target: list[int]):
    with pytest.raises(EvaluationError):
        uar(preds, target, 7)
