from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maeum.errors import ConfigError
from maeum.models.losses import class_loss, class_weights, emotion_loss
from maeum.types import ModelOutput

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3]])
TARGET = torch.tensor([0, 2])


def test_cross_entropy_is_the_mean_negative_log_probability() -> None:
    expected = -(LOGITS.softmax(1)[[0, 1], TARGET]).log().mean()
    torch.testing.assert_close(class_loss(LOGITS, TARGET, "cross-entropy"), expected)


def test_bce_counts_positives_by_their_weight() -> None:
    weight = torch.tensor([3.0, 1.0, 2.0])
    hot = F.one_hot(TARGET, 3).double()
    probs = LOGITS.double().sigmoid()
    expected = -(weight.double() * hot * probs.log() + (1 - hot) * (1 - probs).log()).mean()
    ours = class_loss(LOGITS, TARGET, "bce", weight)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)


def test_class_weights_even_out_classes() -> None:
    target = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(class_weights(target, 2, "bce"), torch.tensor([1 / 3, 3.0]))
    weight = class_weights(target, 2, "cross-entropy")
    assert weight[1] / weight[0] == pytest.approx(3.0)
    assert weight[target].mean() == pytest.approx(1.0)


def test_a_class_without_items_cannot_be_weighted_for_bce() -> None:
    target = torch.tensor([0, 0, 1])
    with pytest.raises(ConfigError, match="label number 2"):
        class_weights(target, 3, "bce")
    assert class_weights(target, 3, "cross-entropy")[2] == 1.0


def test_a_modality_counts_only_where_it_is_present() -> None:
    own = torch.tensor([[0.0, 0.0, 9.0], [5.0, 0.0, 0.0]])
    output = ModelOutput(LOGITS, {"text": own}, {"text": torch.tensor([False, True])})
    both = emotion_loss(output, TARGET, "cross-entropy", modality_weight=0.5)
    expected = F.cross_entropy(LOGITS, TARGET) + 0.5 * F.cross_entropy(own[1:], TARGET[1:])
    torch.testing.assert_close(both, expected)
