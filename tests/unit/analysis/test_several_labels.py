"""Models that answer with any number of labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maeum.analysis.recognizer import Recognizer
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
