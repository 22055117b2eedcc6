"""ROC AUC and average precision of one label, of several, and of classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from maeum.errors import EvaluationError
from maeum.evaluation.base import METRICS, metrics_of
from maeum.evaluation.ranking import (
    average_precision,
    label_average_precision,
    label_roc_auc,
    one_vs_rest_roc_auc,
    roc_auc,
)
from maeum.labels import LabelSet


@pytest.fixture
def many() -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and 0/1 targets of very different frequency, (400, 4)."""
    rng = np.random.default_rng(0)
    target = (rng.random((400, 4)) < [0.02, 0.2, 0.5, 0.9]).astype(float)
    return (target * 0.3 + rng.random((400, 4))).round(1), target


def test_by_hand():
    # Of 2 x 2 pairs two are in order, one is tied, one is the wrong way round.
    assert roc_auc([0.9, 0.4, 0.4, 0.5], [1, 1, 0, 0]) == pytest.approx((2 + 0.5) / 4)
    assert roc_auc([0.5, 0.5, 0.5], [1, 0, 0]) == 0.5
    assert roc_auc([0.1, 0.9], [1, 0]) == 0.0


def test_equals_scikit_learn(many: tuple[np.ndarray, np.ndarray]):
    scores, target = many
    areas = label_roc_auc(scores, target)
    assert areas == pytest.approx(list(sk.roc_auc_score(target, scores, average=None)), abs=1e-9)
    assert METRICS["mean_roc_auc"].function(scores, target, "error") == pytest.approx(np.mean(areas), abs=1e-12)


def test_classes_equal_scikit_learn(many: tuple[np.ndarray, np.ndarray]):
    scores = many[0] + 0.1
    probs = scores / scores.sum(1, keepdims=True)
    target = np.random.default_rng(1).integers(4, size=400)
    areas = one_vs_rest_roc_auc(probs, target)
    expected = sk.roc_auc_score(target, probs, multi_class="ovr", average=None)
    assert areas == pytest.approx(list(expected), abs=1e-9)
    assert METRICS["mean_roc_auc"].function(probs, target, "error") == pytest.approx(np.mean(areas), abs=1e-12)


def test_one_sided_targets_are_none_or_an_error_with_a_remedy():
    with pytest.raises(EvaluationError, match=r"all targets are alike.*Score positive and negative items together"):
        roc_auc([0.1, 0.2], [1, 1])
    scores, target = np.array([[0.1, 0.2], [0.9, 0.3]]), np.array([[0, 1], [1, 1]])
    assert label_roc_auc(scores, target) == [1.0, None]
    assert one_vs_rest_roc_auc([[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]], [2, 0]) == [1.0, None, 1.0]
    metric = METRICS["mean_roc_auc"]
    with pytest.raises(EvaluationError, match=r"labels \[1\] are never or always on.*absent=\"exclude\""):
        metric.function(scores, target, "error")
    assert metric.function(scores, target, "exclude") == 1.0
    with pytest.raises(EvaluationError, match="all labels are never or always on"):
        metric.function(scores, np.ones((2, 2)), "exclude")


def test_average_precision_by_hand():
    # The positive items are 1st and, with one tied wrong item, 2nd and 3rd: (1/1 + 2/3) / 2.
    assert average_precision([0.9, 0.4, 0.4, 0.1], [1, 1, 0, 0]) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0]) == 0.25, "without an order, the share of yes"
    assert average_precision([0.1, 0.9], [1, 1]) == 1.0


def test_average_precision_equals_scikit_learn(many: tuple[np.ndarray, np.ndarray]):
    scores, target = many
    found = label_average_precision(scores, target)
    assert found == pytest.approx(list(sk.average_precision_score(target, scores, average=None)), abs=1e-9)
    metric = METRICS["mean_average_precision"]
    assert metric.function(scores, target, "error") == pytest.approx(np.mean(found), abs=1e-12)
    classes = np.random.default_rng(1).integers(4, size=400)
    expected = sk.average_precision_score(np.eye(4)[classes], scores)
    assert metric.function(scores, classes, "error") == pytest.approx(expected, abs=1e-9)


def test_average_precision_without_a_positive_item():
    with pytest.raises(EvaluationError, match=r"no target is positive.*Score items of which some are positive"):
        average_precision([0.1, 0.2], [0, 0])
    scores, target = np.array([[0.1, 0.2], [0.9, 0.3]]), np.array([[0, 0], [1, 0]])
    assert label_average_precision(scores, target) == [1.0, None]
    metric = METRICS["mean_average_precision"]
    with pytest.raises(EvaluationError, match=r"labels \[1\] are never on.*absent=\"exclude\""):
        metric.function(scores, target, "error")
    assert metric.function(scores, target, "exclude") == 1.0


def test_reports_of_several_labels_rank():
    for task, ranks in (("multi-label", True), ("single-label", False)):
        shown = metrics_of(LabelSet(("joy", "rage"), task))
        assert ({"mean_roc_auc", "mean_average_precision"} <= set(shown)) is ranks
