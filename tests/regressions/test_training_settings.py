"""Settings of a training that once did nothing, or ended in a traceback."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from maeum.errors import ConfigError, RenamedSettingWarning
from maeum.labels import LabelSet
from maeum.training.config import TrainConfig
from objectives import objective_of

SEVERAL = LabelSet(("anger", "fear", "sadness"), "multi-label")
SCALES = LabelSet(("valence",), "dimensional", ((-1.0, 1.0),))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"label_smoothing": 2}, "label_smoothing = 2: Input should be less than 1"),
        ({"label_smoothing": -0.1}, "label_smoothing = -0.1: Input should be greater"),
        ({"weight_decay": -1}, "weight_decay = -1: Input should be greater than or equal to 0"),
        ({"modality_weight": -1}, "modality_weight = -1: Input should be greater"),
        ({"clip_norm": 0}, "clip_norm = 0: Input should be greater than 0"),
        ({"seed": -1}, "seed = -1: Input should be greater"),
        ({"checkpoint_every_s": -1}, "checkpoint_every_s = -1: Input should be greater"),
        ({"batch_size": 4, "accumulate": 5}, "a batch of 4 has no 5 parts: set accumulate to 4 or less"),
        ({"parallel": 2}, "the setting 'parallel' is gone: .*use training.accumulate"),
        ({"loss": "bce", "label_smoothing": 0.1}, "loss bce: unknown setting 'label_smoothing'"),
        ({"loss": "ccc", "class_weights": True}, "loss ccc: unknown setting 'class_weights'"),
        ({"loss": "cross-entrpy"}, "unknown loss 'cross-entrpy'. Did you mean 'cross-entropy'"),
        ({"losses": {"ctcc": {}}}, "unknown loss 'ctcc'. Did you mean 'ctc'"),
        ({"losses": {"ctc": {"wieght": 1}}}, r"losses\.ctc: unknown setting 'wieght' \(did you mean weight"),
        ({"losses": {"ctc": {"weight": -1}}}, r"losses\.ctc: weight = -1: Input should be greater"),
    ],
)
def test_values_that_mean_nothing_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        TrainConfig.parse(settings)


@pytest.mark.parametrize("labels", [SEVERAL, SCALES])
def test_label_smoothing_is_refused_where_the_labels_choose_a_loss_without_it(labels: LabelSet) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'label_smoothing'"):
        objective_of(TrainConfig(label_smoothing=0.1), nn.Identity(), labels)


def test_former_names_of_losses_are_understood_with_a_warning() -> None:
    with pytest.warns(RenamedSettingWarning, match=r"now in training\.losses"):
        read = TrainConfig.parse(
            {"ctc": 0.1, "supervised_contrastive": 0.2, "memory": 64, "temperature": 0.1, "contrast": "published",
             "distill": 0.0, "distill_temperature": 3.0}
        )  # fmt: skip
    contrast = {"weight": 0.2, "temperature": 0.1, "memory": 64, "form": "published"}
    assert read.losses == {"ctc": {"weight": 0.1}, "supervised-contrastive": contrast}
    with pytest.warns(RenamedSettingWarning):
        assert TrainConfig.parse({"augmented_contrastive": 0.0, "ctc": 0.0}) == TrainConfig()
