"""Models that answer with any number of labels, or with values on scales."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maeum.analysis.recognizer import Recognizer
from maeum.errors import InputError
from maeum.labels import EMOTIONS, LabelSet
from maeum.models.pretrained import Calibration, load_pretrained


@pytest.fixture
def several(small_model: Path) -> Recognizer:
    calibration = Calibration(thresholds=(0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0))
    return Recognizer(
        replace(load_pretrained(small_model), label_set=LabelSet(EMOTIONS, "multi-label"), calibration=calibration)
    )


def test_every_label_above_its_threshold_is_named(several: Recognizer):
    answer = several.predict(text="lovely")
    assert answer.label == max(answer.probs, key=lambda name: answer.probs[name])
    assert answer.labels == ("anger", "fear")
    assert several.predict(text="lovely", min_confidence=1.0).labels == ()


def test_one_label_is_the_answer_of_other_models(small_model: Path):
    recognizer = Recognizer(load_pretrained(small_model))
    answer = recognizer.predict(text="lovely")
    assert answer.labels == (answer.label,)
    assert recognizer.predict(text=" ").labels == ()


@pytest.fixture
def scales(small_model: Path) -> Recognizer:
    names = LabelSet((*EMOTIONS[:2], *"cdefg"), "dimensional", ((1.0, 5.0), (-3.0, 3.0), *[(0, 1)] * 5))
    calibration = Calibration(margins={"text": (0.5, 100.0, 0.1, 0.1, 0.1, 0.1, None)})
    return Recognizer(replace(load_pretrained(small_model), label_set=names, calibration=calibration))


def test_values_are_on_their_scales_and_intervals_too(scales: Recognizer):
    answer = scales.predict(text="lovely")
    assert answer.answered
    assert tuple(answer.values) == scales.labels
    for name, (low, high) in scales.scales.items():
        assert low <= answer.values[name] <= high
    first, second = (answer.values[name] for name in EMOTIONS[:2])
    assert answer.intervals["anger"] == pytest.approx((max(1.0, first - 0.5), min(5.0, first + 0.5)))
    assert answer.intervals["disgust"] == (-3.0, 3.0)
    assert -3 < second < 3
    assert "g" not in answer.intervals
    assert answer.notes == ("how far off g from words may be was not measured",)
    assert answer.modalities["text"].values == pytest.approx(dict(answer.values))
    assert answer.modalities["text"].share == pytest.approx(1)
    assert (answer.label, answer.labels, answer.modalities["text"].label) == (None, (), None)


def test_what_was_not_calibrated_has_no_intervals(scales: Recognizer, astronaut: Any):
    answer = scales.predict(text="lovely", faces=[astronaut[60:180, 170:290]])
    assert dict(answer.intervals) == {}
    assert answer.notes == ("how far off anger, disgust, c, d, e, f, g from face and words may be was not measured",)
    assert sum(opinion.share for opinion in answer.modalities.values()) == pytest.approx(1)
    logits = [sum(abs(_logit(o.values[name], *scales.scales[name])) for name in scales.labels)
              for o in answer.modalities.values()]  # fmt: skip
    shares = [opinion.share for opinion in answer.modalities.values()]
    assert shares == pytest.approx([one / sum(logits) for one in logits], abs=1e-3)


def _logit(value: float, low: float, high: float) -> float:
    share = (value - low) / (high - low)
    return math.log(share / (1 - share))


def test_without_usable_input_there_are_no_values(scales: Recognizer):
    answer = scales.predict(text=" ")
    assert not answer.answered
    assert (dict(answer.values), dict(answer.probs)) == ({}, {})
    assert answer.reason == "no words: the text is empty"
    with pytest.raises(InputError, match="values on scales have no confidence"):
        scales.predict(text="lovely", min_confidence=0.5)
