from __future__ import annotations

import pytest
import torch

from maeum.errors import ConfigError
from maeum.labels import EKMAN, EMOTIONS, LabelSet

MULTI = LabelSet(EMOTIONS, "multi-label")
SCALES = LabelSet(("valence", "arousal"), "dimensional", ((1.0, 5.0), (-1.0, 1.0)))


@pytest.mark.parametrize(
    ("labels", "value", "decoded"),
    [
        (EKMAN, "Joy", "happiness"),
        (EKMAN, "calm", "neutral"),
        (MULTI, ("sad", "anger"), ["anger", "sadness"]),
        (MULTI, (), []),
        (SCALES, {"valence": 2.5, "arousal": -0.5}, {"valence": 2.5, "arousal": -0.5}),
        (SCALES, {"arousal": -0.5}, {"arousal": -0.5}),
    ],
)
def test_a_label_survives_being_a_target(labels: LabelSet, value: object, decoded: object) -> None:
    assert labels.decode(labels.encode(value)) == decoded  # type: ignore[arg-type]
    assert LabelSet.from_dict(labels.to_dict()) == labels


def test_outputs_become_probabilities_or_values_in_range() -> None:
    logits = torch.tensor([[-1e4, 0.0, 1e4, 0, 0, 0, 0]])
    assert EKMAN.activate(logits).sum() == pytest.approx(1.0)
    assert MULTI.activate(logits)[0, :3].tolist() == [0.0, 0.5, 1.0]
    assert SCALES.activate(torch.tensor([[-1e4, 1e4]])).tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("labels", "value", "problem"),
    [
        (EKMAN, "joyful", "unknown label 'joyful'"),
        (EKMAN, ("anger",), "one name"),
        (SCALES, {}, "has values of valence, arousal"),
        (SCALES, {"valence": 3.0, "joy": 0.0}, "has values of valence, arousal"),
        (SCALES, {"valence": 9.0, "arousal": 0.0}, r"valence = 9.0 is outside 1.0..5.0"),
        (SCALES, {"valence": float("nan"), "arousal": 0.0}, "valence = nan"),
    ],
)
def test_a_label_that_does_not_fit_is_an_error(labels: LabelSet, value: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        labels.encode(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "data",
    [{}, {"names": "anger"}, {"names": ["a"], "task": "dimensional"}, {"names": ["a"], "task": "guess"},
     {"names": ["a"], "task": "dimensional", "ranges": [[1]]},
     {"names": ["a"], "task": "dimensional", "ranges": [[2, 1]]},
     {"names": ["a", "a"]}],
)  # fmt: skip
def test_what_is_no_label_set_is_an_error(data: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        LabelSet.from_dict(data)
