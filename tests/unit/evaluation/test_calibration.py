"""Confidence, and the temperature that corrects it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from maeum.errors import EvaluationError
from maeum.evaluation.calibration import (
    brier,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
)


@pytest.fixture
def sharp() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose true temperature is 2.5: targets are drawn from softmax(logits / 2.5)."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 7, generator=generator, dtype=torch.float64) * 4
    target = torch.multinomial((logits / 2.5).softmax(-1), 1, generator=generator).squeeze(1)
    return logits, target


def test_ece_equals_the_bins_of_scikit_learn(sharp: tuple[torch.Tensor, torch.Tensor]):
    logits, target = sharp
    probs = (logits / 4).softmax(-1)
    confidence, answer = probs.max(-1)
    right = answer == target
    accuracy, mean_confidence = calibration_curve(right, confidence, n_bins=15)
    counts, _ = np.histogram(confidence, 15, (0, 1))
    expected = np.average(np.abs(accuracy - mean_confidence), weights=counts[counts > 0])
    assert expected_calibration_error(probs, target) == pytest.approx(expected, abs=1e-9)
    assert expected > 0.05


def test_ece_by_hand():
    # Two items of confidence .8 in one bin, one right: |.5 - .8|; one of .6, right: |1 - .6|.
    probs = [[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]]
    assert expected_calibration_error(probs, [0, 1, 1]) == pytest.approx((2 * 0.3 + 0.4) / 3)
    filled = [b for b in reliability(probs, [0, 1, 1]) if b.count]
    assert [(b.count, b.confidence, b.accuracy) for b in filled] == [(1, 0.6, 1.0), (2, 0.8, 0.5)]
    assert [b.accuracy for b in reliability(probs, [0, 1, 1]) if not b.count] == [None] * 13
    assert expected_calibration_error([[1.0, 0.0]], [0]) == 0.0


def test_brier_equals_scikit_learn(sharp: tuple[torch.Tensor, torch.Tensor]):
    logits, target = sharp
    probs = logits[:500].softmax(-1).numpy()
    expected = sum(sk.brier_score_loss(target[:500].numpy() == i, probs[:, i]) for i in range(7))
    assert brier(probs, target[:500]) == pytest.approx(expected, abs=1e-9)
    assert brier([[0.0, 1.0]], [0]) == 2.0


def test_nll_equals_torch(sharp: tuple[torch.Tensor, torch.Tensor]):
    logits, target = sharp
    expected = torch.nn.functional.cross_entropy(logits / 1.7, target)
    assert negative_log_likelihood(logits, target, 1.7) == pytest.approx(float(expected), abs=1e-9)


def test_temperature_is_found_again_and_calibrates(sharp: tuple[torch.Tensor, torch.Tensor]):
    logits, target = sharp
    temperature = fit_temperature(logits[:10_000], target[:10_000])
    assert temperature == pytest.approx(2.5, rel=0.03)
    held_logits, held = logits[10_000:], target[10_000:]
    before = expected_calibration_error(held_logits.softmax(-1), held)
    after = expected_calibration_error((held_logits / temperature).softmax(-1), held)
    assert before > 0.1
    assert after < 0.02


def test_temperature_is_the_optimum(sharp: tuple[torch.Tensor, torch.Tensor]):
    logits, target = sharp[0][:2000], sharp[1][:2000]
    temperature = fit_temperature(logits, target)
    best = negative_log_likelihood(logits, target, temperature)
    for other in (0.999, 1.001):
        assert negative_log_likelihood(logits, target, temperature * other) > best


def test_a_perfect_classifier_does_not_break_the_search():
    logits, target = [[5.0, 0.0], [0.0, 5.0]], [0, 1]
    temperature = fit_temperature(logits, target)
    assert 0.05 <= temperature < 0.2
    assert negative_log_likelihood(logits, target, temperature) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("probs", [[[0.5, 0.6]], [[-0.1, 1.1]], [[float("nan"), 1.0]]])
def test_not_probabilities(probs: list[list[float]]):
    with pytest.raises(EvaluationError):
        expected_calibration_error(probs, [0])


def test_uncalibrated_extremes():
    assert expected_calibration_error([[1.0, 0.0]] * 4, [1] * 4) == 1.0
    assert np.isclose(brier([[0.5, 0.5]], [0]), 0.5)
