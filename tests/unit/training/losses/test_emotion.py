from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from maeum.errors import ModelError
from maeum.evaluation.dimensional import concordance
from maeum.training.losses.base import BatchOutputs
from maeum.training.losses.bce import BinaryCrossEntropy
from maeum.training.losses.cross_entropy import CrossEntropy
from maeum.training.losses.distillation import distillation_loss
from maeum.training.losses.encoding_distillation import encoding_loss
from maeum.types import Batch, ModelOutput
from objectives import compare, loss_of

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3]])
TARGET = torch.tensor([0, 2])


def test_cross_entropy_is_the_mean_negative_log_probability() -> None:
    expected = -(LOGITS.softmax(1)[[0, 1], TARGET]).log().mean()
    torch.testing.assert_close(compare("cross-entropy", LOGITS, TARGET), expected)


def test_bce_counts_positives_by_their_weight() -> None:
    weight = torch.tensor([3.0, 1.0, 3.0])
    hot = F.one_hot(TARGET, 3).double()
    probs = LOGITS.double().sigmoid()
    expected = -(weight.double() * hot * probs.log() + (1 - hot) * (1 - probs).log()).mean()
    loss = loss_of("bce", targets=torch.tensor([0, 1, 1, 2]))
    assert isinstance(loss, BinaryCrossEntropy)
    ours = loss.compare(LOGITS, TARGET)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)


def test_class_weights_even_out_classes() -> None:
    target = torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(BinaryCrossEntropy.weights(target, 2), torch.tensor([1 / 3, 3.0]))
    weight = CrossEntropy.weights(target, 2)
    assert weight[1] / weight[0] == pytest.approx(3.0)
    assert weight[target].mean() == pytest.approx(1.0)


def test_a_class_with_nothing_to_even_out_weighs_one() -> None:
    target = torch.tensor([0, 0, 1])
    for kind in (CrossEntropy, BinaryCrossEntropy):
        assert kind.weights(target, 3)[2] == 1.0
    several = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert BinaryCrossEntropy.weights(several, 3).tolist() == [1.0, 1.0, 2.0]


def test_a_modality_counts_only_where_it_is_present() -> None:
    own = torch.tensor([[0.0, 0.0, 9.0], [5.0, 0.0, 0.0]])
    output = ModelOutput(LOGITS, {"text": own}, {"text": torch.tensor([False, True])})
    loss = loss_of("cross-entropy", modality_weight=0.5)
    both = loss(Batch(("a", "b"), target=TARGET), BatchOutputs(output)).value
    expected = F.cross_entropy(LOGITS, TARGET) + 0.5 * F.cross_entropy(own[1:], TARGET[1:])
    torch.testing.assert_close(both, expected)


RANGES = torch.tensor([[1.0, 5.0], [-3.0, 3.0], [1.0, 7.0]])


def by_hand(logits: np.ndarray, target: np.ndarray, ranges: np.ndarray) -> float:
    """1 - CCC, scale by scale, in the scales' own units, in float64; NaN targets are left out."""
    losses = []
    for i, (low, high) in enumerate(ranges):
        there = ~np.isnan(target[:, i])
        said = low + (high - low) / (1 + np.exp(-logits[there, i]))
        true = target[there, i]
        covariance = np.cov(said, true, ddof=0)[0, 1]
        losses.append(1 - 2 * covariance / (said.var() + true.var() + (said.mean() - true.mean()) ** 2))
    return float(np.mean(losses))


def drawn(items: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets of three scales; some targets are missing."""
    rng = np.random.default_rng(seed)
    low, high = RANGES.double().numpy().T
    target = low + (high - low) * rng.random((items, 3))
    target[rng.random((items, 3)) < 0.25] = np.nan
    target[:2] = low, high  # so that no scale is without two values
    return torch.tensor(rng.normal(size=(items, 3))), torch.tensor(target)


@pytest.mark.parametrize("items", [2, 3, 8, 100])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_concordance_and_its_gradient_are_those_of_a_reference(items: int, dtype: torch.dtype) -> None:
    logits, target = drawn(items)
    ours = logits.to(dtype, copy=True).requires_grad_()
    loss = compare("ccc", ours, target.to(dtype), RANGES)
    loss.backward()
    point, values, ranges = logits.numpy(), target.numpy(), RANGES.double().numpy()
    assert loss.item() == pytest.approx(by_hand(point, values, ranges), abs=1e-6)
    slope = np.empty_like(point)
    for place in np.ndindex(*point.shape):
        step = np.zeros_like(point)
        step[place] = 1e-5
        slope[place] = (by_hand(point + step, values, ranges) - by_hand(point - step, values, ranges)) / 2e-5
    assert ours.grad is not None
    np.testing.assert_allclose(ours.grad.numpy(), slope, atol=2e-6)


def test_concordance_is_that_of_the_score() -> None:
    logits, target = drawn(50)
    target = target.nan_to_num(2.0)
    low, high = RANGES.double().T
    values = low + (high - low) * logits.sigmoid()
    scores = [concordance(values[:, i], target[:, i]) for i in range(3)]
    assert compare("ccc", logits, target, RANGES).item() == pytest.approx(1 - np.mean(scores), abs=1e-6)


@pytest.mark.parametrize(
    ("logits", "target", "expected"),
    [
        ([[0.3]], [[2.0]], 1.0),
        ([[0.0]], [[3.0]], 1.0),
        ([[0.3], [1.0]], [[2.0], [2.0]], 1.0),
        ([[0.0], [0.0]], [[3.0], [3.0]], 1.0),
        ([[90.0], [90.0]], [[5.0], [5.0]], 1.0),
        ([[0.3], [1.0]], [[math.nan], [2.0]], 1.0),
        ([[0.3], [1.0]], [[math.nan], [math.nan]], 0.0),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_says_nothing_about_concordance_moves_nothing(
    logits: list[list[float]], target: list[list[float]], expected: float, dtype: torch.dtype
) -> None:
    ours = torch.tensor(logits, dtype=dtype, requires_grad=True)
    loss = compare("ccc", ours, torch.tensor(target), torch.tensor([[1.0, 5.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert ours.grad is not None
    assert ours.grad.abs().max() < 1e-6


def test_predictions_that_are_all_alike_are_moved_apart_and_not_far() -> None:
    ours = torch.zeros(16, 1, requires_grad=True)
    target = torch.linspace(1, 5, 16).unsqueeze(1)
    compare("ccc", ours, target, torch.tensor([[1.0, 5.0]])).backward()
    assert ours.grad is not None
    assert (ours.grad[0] > 0).item(), "the lowest goes down"
    assert (ours.grad[-1] < 0).item(), "the highest goes up"
    assert ours.grad.abs().max() < 1


def test_a_scale_without_targets_does_not_count() -> None:
    logits, target = drawn(12)
    target[:, 1] = math.nan
    both = compare("ccc", logits, target, RANGES)
    kept = [0, 2]
    torch.testing.assert_close(both, compare("ccc", logits[:, kept], target[:, kept], RANGES[kept]))


def test_squared_error_leaves_out_missing_targets() -> None:
    target = torch.tensor([[5.0, math.nan], [math.nan, -3.0]])
    loss = compare("squared-error", torch.zeros(2, 2), target, RANGES[:2])
    assert loss.item() == pytest.approx(0.25), "both are half a range off"


def encoded(**of: torch.Tensor) -> ModelOutput:
    there = torch.tensor([True])
    return ModelOutput(
        torch.zeros(1, 3), present=dict.fromkeys(of, there), auxiliary={f"{m}.encoded": v for m, v in of.items()}
    )


def test_encodings_are_compared_in_units_of_their_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    faces, speech, other = (torch.randn(6, 4, generator=generator) for _ in range(3))
    taught = encoded(faces=10 + 5 * faces)
    assert float(encoding_loss(encoded(faces=10 + 5 * faces, speech=speech), taught)) == 0, "speech has no teacher"
    mean = (10 + 5 * faces.mean(0)).expand(6, 4)
    assert float(encoding_loss(encoded(faces=mean), taught)) == pytest.approx(1, abs=1e-4)
    two = encoding_loss(encoded(faces=mean, speech=other), encoded(faces=10 + 5 * faces, speech=other))
    assert float(two) == pytest.approx(0.5, abs=1e-4), "the mean over branches"
    assert float(encoding_loss(encoded(speech=speech), taught)) == 0
    assert float(encoding_loss(encoded(faces=faces[:0]), encoded(faces=faces[:0]))) == 0, "a batch without faces"
    alike = torch.ones(2, 4) * 3
    assert float(encoding_loss(encoded(faces=alike + 0.3), encoded(faces=alike))) == pytest.approx(1, rel=1e-4), (
        "0.09 / (9 / 100)"
    )
    nothing = encoding_loss(encoded(faces=alike), encoded(faces=0 * alike))
    assert math.isfinite(float(nothing))
    with pytest.raises(ModelError, match=r"faces\.encoded is \(6, 4\), and \(5, 4\)"):
        encoding_loss(encoded(faces=faces), encoded(faces=faces[:5]))


@pytest.mark.parametrize("kind", ["cross-entropy", "bce"])
def test_a_teacher_is_followed_modality_by_modality(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, faces, other = (torch.randn(4, 3, generator=generator) for _ in range(3))
    present = torch.tensor([True, True, False, True])
    taught = ModelOutput(logits, {"faces": faces}, {"faces": present})
    same = ModelOutput(logits.clone(), {"faces": torch.where(present.unsqueeze(1), faces, other)}, {"faces": present})
    assert float(distillation_loss(same, taught, 2.0, per_label=kind == "bce")) == pytest.approx(0, abs=1e-6)
    apart = ModelOutput(other, {"faces": faces, "speech": other}, {"faces": present, "speech": present})
    p, q = torch.softmax(logits.double() / 2, 1), torch.softmax(other.double() / 2, 1)
    expected = (p * (p / q).log()).sum(1).mean()
    if kind == "bce":
        p, q = torch.sigmoid(logits.double() / 2), torch.sigmoid(other.double() / 2)
        expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    # the mean of the fused answer's and that of faces, which is 0; the teacher has no branch for speech
    assert float(distillation_loss(apart, taught, 2.0, per_label=kind == "bce")) == pytest.approx(
        4 * float(expected) / 2, rel=1e-5
    )
