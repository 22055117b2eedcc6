"""The risk-coverage curve and its area."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from maeum.errors import EvaluationError
from maeum.evaluation.selective import RiskPoint, area_under_risk_coverage, risk_coverage


def rows(*confidence: float) -> list[list[float]]:
    """Probabilities that say class 0 with this confidence."""
    return [[c, 1 - c] for c in confidence]


def test_by_hand():
    # From the surest: right, wrong, right: error rates 0, 1/2, 1/3.
    probs, target = rows(0.9, 0.8, 0.7), [0, 1, 0]
    assert risk_coverage(probs, target) == [
        RiskPoint(0.9, pytest.approx(1 / 3), 0.0),
        RiskPoint(0.8, pytest.approx(2 / 3), 0.5),
        RiskPoint(0.7, 1.0, pytest.approx(1 / 3)),
    ]
    assert area_under_risk_coverage(probs, target) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)


def test_equally_sure_items_are_one_point_and_their_order_does_not_matter():
    probs, target = np.array(rows(0.9, 0.6, 0.6, 0.6)), np.array([0, 1, 0, 1])
    assert [(p.threshold, p.coverage, p.risk) for p in risk_coverage(probs, target)] == [(0.9, 0.25, 0), (0.6, 1, 0.5)]
    areas = [area_under_risk_coverage(probs[list(o)], target[list(o)]) for o in itertools.permutations(range(4))]
    assert max(areas) == pytest.approx(min(areas), abs=1e-12)


def test_best_worst_and_useless_confidence():
    sure_when_right, sure_when_wrong = rows(0.9, 0.8, 0.7, 0.6), rows(0.6, 0.7, 0.8, 0.9)
    target = [0, 0, 1, 1]
    best = area_under_risk_coverage(sure_when_right, target)
    worst = area_under_risk_coverage(sure_when_wrong, target)
    useless = area_under_risk_coverage(rows(0.7, 0.7, 0.7, 0.7), target)
    assert best < useless < worst
    assert useless == pytest.approx(0.5)
    assert area_under_risk_coverage(sure_when_right, [0] * 4) == 0.0
    assert area_under_risk_coverage(sure_when_right, [1] * 4) == 1.0


def test_logits_are_not_confidence():
    with pytest.raises(EvaluationError, match=r"item 1: probabilities are negative.*softmax"):
        risk_coverage([[0.5, 0.5], [3.0, -2.0]], [0, 0])
