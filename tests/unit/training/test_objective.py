"""Which losses a training has, from its settings and labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maeum.errors import ConfigError
from maeum.labels import LabelSet
from maeum.training.config import TrainConfig
from maeum.training.losses import LOSSES
from maeum.training.losses.base import BatchOutputs, Loss, LossConfig, LossSetup, LossValue
from maeum.types import Batch, ModelOutput
from objectives import THREE, compare, objective_of

LABELS = {
    "single-label": THREE,
    "multi-label": LabelSet(("anger", "fear", "sadness"), "multi-label"),
    "dimensional": LabelSet(("valence", "arousal"), "dimensional", ((-1.0, 1.0), (0.0, 1.0))),
}
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3]])
TARGET = torch.tensor([0, 2])


@pytest.mark.parametrize(
    ("task", "loss"), [("single-label", "cross-entropy"), ("multi-label", "bce"), ("dimensional", "ccc")]
)
def test_the_loss_follows_the_labels_where_none_is_named(task: str, loss: str) -> None:
    assert list(objective_of(TrainConfig(), nn.Identity(), LABELS[task]).losses) == [loss]


def test_a_loss_for_other_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'bce' is not for dimensional targets. Use ccc or squared-error"):
        objective_of(TrainConfig(loss="bce"), nn.Identity(), LABELS["dimensional"])


class Entropy(Loss[LossConfig]):
    """A third party's: the entropy of the answers."""

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        probs = outputs.output.logits.softmax(1)
        value = -(probs * probs.log()).sum(1).mean()
        return LossValue(value, {"entropy": float(value.detach())})


@pytest.fixture
def entropy(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(LOSSES._table, "entropy", Entropy)
    return Entropy


def test_losses_are_summed_by_their_weights(entropy: Any) -> None:
    config = TrainConfig(losses={"entropy": {"weight": 0.5}}, class_weights=False)
    total, log = objective_of(config, nn.Identity()).loss(
        Batch(("a", "b"), target=TARGET), BatchOutputs(ModelOutput(LOGITS))
    )
    probs = LOGITS.softmax(1)
    expected: Tensor = -(probs * probs.log()).sum(1).mean()
    torch.testing.assert_close(total, compare("cross-entropy", LOGITS, TARGET) + 0.5 * expected)
    assert log == {"entropy": pytest.approx(float(expected))}
    off = TrainConfig(losses={"entropy": {"weight": 0}})
    assert list(objective_of(off, nn.Identity()).losses) == ["cross-entropy"]
    assert off.further_losses() == {}


def test_two_losses_may_compare_logits_with_labels() -> None:
    config = TrainConfig(losses={"squared-error": {"weight": 2.0}})
    assert list(objective_of(config, nn.Identity(), LABELS["dimensional"]).losses) == ["ccc", "squared-error"]


def test_classes_are_weighted_by_the_training_items() -> None:
    counted = torch.tensor([0, 0, 0, 1, 2])
    losses = [
        objective_of(TrainConfig(class_weights=on), nn.Identity(), targets=counted).losses["cross-entropy"]
        for on in (True, False)
    ]
    assert losses[0].class_weight.tolist() == pytest.approx([5 / 9, 5 / 3, 5 / 3])
    assert losses[1].class_weight is None


def test_a_loss_without_its_network_or_teacher_is_refused() -> None:
    network = nn.Identity()
    network.auxiliary_names = frozenset()
    for name, problem in (
        ("ctc", "no CTC head"),
        ("supervised-contrastive", "no projection"),
        ("augmented-contrastive", "no projection"),
        ("distillation", "needs a teacher"),
        ("encoding-distillation", "needs a teacher"),
    ):
        with pytest.raises(ConfigError, match=problem):
            objective_of(TrainConfig(losses={name: {}}), network)


def test_every_loss_describes_its_settings_and_its_labels() -> None:
    for name in LOSSES:
        kind = LOSSES[name]
        assert kind.__doc__, name
        assert kind.tasks, name
        assert all(field.description for field in kind.Config.model_fields.values()), name
        assert issubclass(kind.Config, LossConfig), name
    assert LossSetup.__doc__
