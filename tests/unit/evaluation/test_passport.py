"""What is to be known of every score: trivial answers on the same items, and where it comes from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from maeum.evaluation.base import METRICS
from maeum.evaluation.predictions import PredictionSet, Provenance
from maeum.evaluation.report import evaluate
from maeum.evaluation.trivial import chance_score, majority_score
from maeum.labels import EKMAN, LabelSet
from maeum.reports.passport import passports

ABOUT = Provenance("m", "abc", "corpus", "test", "official parts", "def", "CC BY-NC", seeds=(1,), settings={"lr": 0.1})


def test_majority_equals_scikit_learn():
    target = np.random.default_rng(0).choice(4, 300, p=[0.1, 0.5, 0.2, 0.2])
    always = np.full_like(target, np.bincount(target).argmax())
    wanted = {
        "accuracy": (always == target).mean(),
        "uar": balanced_accuracy_score(target, always),
        "macro_f1": f1_score(target, always, average="macro", zero_division=0),
    }
    for name, value in wanted.items():
        assert majority_score(METRICS[name], target, 4) == pytest.approx(value, abs=1e-12)


def test_chance_is_the_expected_score_of_shuffled_answers():
    rng = np.random.default_rng(1)
    target, said = rng.choice(3, 2000, p=[0.6, 0.3, 0.1]), rng.choice(3, 2000, p=[0.2, 0.5, 0.3])
    expected = sum(np.mean(target == c) * np.mean(said == c) for c in range(3))
    assert chance_score(METRICS["accuracy"], np.eye(3)[said], target) == pytest.approx(expected, abs=0.005)


def test_what_is_undefined_for_the_same_answer_is_left_out():
    scales = LabelSet(("valence",), "dimensional", ((1.0, 5.0),))
    values = torch.rand(40, 1, generator=torch.Generator().manual_seed(0)) * 4 + 1
    report = evaluate(PredictionSet(tuple(map(str, range(40))), values, values, None), scales, intervals=False)
    assert report.majority["mean_mae"] == pytest.approx(float((values - values.mean()).abs().mean()), abs=1e-6)
    assert "mean_pearson" not in report.majority


def test_a_passport_says_everything_and_is_json():
    logits = torch.eye(7).repeat(4, 1) * 3
    groups = tuple(f"s{i % 4}" for i in range(28))
    test = PredictionSet(tuple(map(str, range(28))), logits, torch.arange(28) % 7, groups)
    report = evaluate(test, EKMAN, provenance=ABOUT)
    records = passports(report)
    assert [r["score"] for r in records] == list(report.scores)
    read = json.loads(json.dumps(records, allow_nan=False))
    accuracy = read[0]
    assert accuracy["value"] == 1.0
    assert accuracy["majority"] == pytest.approx(1 / 7)
    assert (accuracy["items"], accuracy["groups"], accuracy["interval_over"]) == (28, 4, "speakers")
    assert accuracy["definition"] == METRICS["accuracy"].definition
    assert accuracy["provenance"]["settings"] == {"lr": 0.1}
    assert accuracy["provenance"]["seeds"] == [1]
