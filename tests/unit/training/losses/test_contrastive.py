from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maeum.errors import ModelError
from maeum.training.losses.augmented_contrastive import augmented_contrastive
from maeum.training.losses.published import published_supervised_contrastive
from maeum.training.losses.supervised_contrastive import Memory, supervised_contrastive


def by_hand(features: Tensor, target: Tensor, temperature: float, anchors: int) -> float:
    """Equation 2 of Khosla et al. 2020, one pair at a time, in float64."""
    unit = [row / row.norm() for row in features.double()]
    losses = []
    for i in range(anchors):
        others = [j for j in range(len(unit)) if j != i]
        total = sum(math.exp(float(unit[i] @ unit[j]) / temperature) for j in others)
        positives = [j for j in others if target[j] == target[i]]
        if positives:
            said = [math.log(math.exp(float(unit[i] @ unit[j]) / temperature) / total) for j in positives]
            losses.append(-sum(said) / len(said))
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9), more=st.integers(0, 5), classes=st.integers(1, 4))
def test_supervised_contrast_is_what_the_equation_says(seed: int, n: int, more: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n + more, 6, generator=generator)
    target = torch.randint(0, classes, (n + more,), generator=generator)
    others = (features[n:], target[n:]) if more else (None, None)
    contrast = supervised_contrastive(features[:n], target[:n], 0.2, *others)
    assert float(contrast.loss) == pytest.approx(by_hand(features, target, 0.2, n), rel=1e-4, abs=1e-6)
    assert contrast.anchors + contrast.alone == n


def test_anchors_without_a_positive_are_skipped_and_counted() -> None:
    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    contrast = supervised_contrastive(features, torch.tensor([0, 1, 1, 2]))
    assert (contrast.anchors, contrast.alone) == (2, 2)
    nobody = supervised_contrastive(features, torch.arange(4))
    assert (float(nobody.loss.detach()), nobody.alone) == (0.0, 4)
    nobody.loss.backward()
    assert (features.grad == 0).all()


def test_only_directions_count() -> None:
    features = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 0, 1, 1, 2, 2])
    scale = torch.tensor([0.1, 1.0, 5.0, 30.0, 2.0, 9.0]).unsqueeze(1)
    plain, scaled = (supervised_contrastive(f, target).loss for f in (features, features * scale))
    torch.testing.assert_close(scaled, plain)


def test_augmented_contrast_is_symmetric_cross_entropy_of_cosines() -> None:
    generator = torch.Generator().manual_seed(0)
    features, views = torch.randn(5, 4, generator=generator), torch.randn(5, 4, generator=generator)
    cosine = F.cosine_similarity(features.unsqueeze(1), views.unsqueeze(0), dim=2) / 0.07
    own = torch.arange(5)
    expected = (F.cross_entropy(cosine, own) + F.cross_entropy(cosine.T, own)) / 2
    torch.testing.assert_close(augmented_contrastive(features, views), expected)
    torch.testing.assert_close(augmented_contrastive(views, features), expected)
    assert float(augmented_contrastive(features[:1], views[:1])) == 0


def test_a_memory_keeps_the_latest_and_a_checkpoint_brings_it_back() -> None:
    memory = Memory(3)
    memory.push(torch.tensor([[1.0], [2.0]], requires_grad=True), torch.tensor([1, 2]))
    memory.push(torch.tensor([[3.0], [4.0]]), torch.tensor([3, 4]))
    assert memory.features is not None
    assert memory.target is not None
    assert (memory.features[:, 0].tolist(), memory.target.tolist()) == ([2.0, 3.0, 4.0], [2, 3, 4])
    assert not memory.features.requires_grad
    again = Memory(3)
    again.load_state_dict(memory.state_dict())
    assert again.features is not None
    assert again.features.tolist() == memory.features.tolist()
    with pytest.raises(ModelError, match="held 3 items, now 4"):
        Memory(4).load_state_dict(memory.state_dict())


def test_mmer_02_long_vectors_bring_the_published_loss_to_nothing_and_ours_not() -> None:
    """Published: log-softmax before the temperature, no length, an item its own positive."""
    features, target = torch.eye(4), torch.tensor([0, 0, 1, 1])  # nobody is near anybody
    published = [float(published_supervised_contrastive(features * length, target)) for length in (1.0, 10.0)]
    assert published[1] > published[0]  # vectors apart cost more the longer they are ...
    together = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    assert float(published_supervised_contrastive(together * 30, target)) == pytest.approx(math.log(2) / 0.07)
    alone = torch.arange(4)
    assert float(published_supervised_contrastive(features * 30, alone)) < 1e-6  # ... and nothing where all are alone
    ours = [float(supervised_contrastive(features * length, target).loss) for length in (1.0, 10.0)]
    assert ours[0] == pytest.approx(ours[1]) == pytest.approx(math.log(3))
    assert supervised_contrastive(features * 30, alone).anchors == 0


def test_contrasts_are_in_float32_where_networks_are_in_bf16() -> None:
    features = 1 + 0.01 * torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 0, 1, 1, 2, 2])
    plain = supervised_contrastive(features, target).loss, augmented_contrastive(features, features.flip(1))
    with torch.autocast("cpu", torch.bfloat16):
        under = supervised_contrastive(features, target).loss, augmented_contrastive(features, features.flip(1))
    torch.testing.assert_close(under, plain, rtol=1e-6, atol=1e-6)
