from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from maeum.sparse import AttentionWeights, PortableOps, ReferenceOps, reference


def random_mask(n: int = 3, size: int = 8, kept: float = 0.4) -> torch.Tensor:
    mask = torch.rand(n, size, size, generator=torch.Generator().manual_seed(0)) < kept
    mask[:, 0, 0] = True
    return mask


def random_maps(mask: torch.Tensor, channels: int = 4) -> torch.Tensor:
    maps = torch.randn(len(mask), channels, *mask.shape[1:], generator=torch.Generator().manual_seed(1))
    return (maps * mask.unsqueeze(1)).double()


@pytest.mark.parametrize("p", [0.05, 0.3, 0.5, 0.8, 0.999, 1.0])
def test_top_p_keeps_the_smallest_prefix_that_reaches_p(p: float) -> None:
    mask = random_mask()
    probs = reference.masked_softmax(torch.randn(mask.shape, dtype=torch.float64), mask)
    kept = reference.top_p_mask(probs, mask, p)
    for values, active, keep in zip(probs.numpy(), mask.numpy(), kept.numpy(), strict=True):
        order = sorted(values[active], reverse=True)
        mass, count = 0.0, 0
        while count < len(order) and mass < p:
            mass += order[count]
            count += 1
        assert keep.sum() == count
        assert not keep[~active].any()
        assert values[keep].min() >= max(values[active & ~keep], default=0.0)


def test_a_preference_changes_the_order_and_not_the_mass() -> None:
    probs = torch.tensor([[[0.4, 0.3], [0.2, 0.1]]])
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    liked = torch.tensor([[1.0, 1.0], [3.0, 1.0]])  # 0.4, 0.3, 0.6, 0.1
    for p, kept in (
        (0.15, [[0, 0], [1, 0]]),
        (0.2, [[0, 0], [1, 0]]),
        (0.25, [[1, 0], [1, 0]]),
        (0.7, [[1, 1], [1, 0]]),
    ):
        assert reference.top_p_mask(probs, mask, p, liked).int().tolist() == [kept]
    mask[0, 1, 0] = False
    assert reference.top_p_mask(probs, mask, 0.15, liked).int().tolist() == [[[1, 0], [0, 0]]]


def test_top_p_of_one_keeps_everything_although_sums_are_rounded() -> None:
    mask = torch.ones(1, 40, 40, dtype=torch.bool)
    probs = reference.masked_softmax(torch.randn(1, 40, 40) * 30, mask)
    assert reference.top_p_mask(probs, mask, 1.0).all()


def test_equal_probabilities_are_taken_in_order() -> None:
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    kept = reference.top_p_mask(torch.full((1, 2, 2), 0.25), mask, 0.5)
    assert kept.flatten().tolist() == [True, True, False, False]


def test_softmax_is_over_active_positions_only() -> None:
    mask = random_mask()
    mask[1] = False
    probs = reference.masked_softmax(torch.randn(mask.shape), mask)
    assert (probs[~mask] == 0).all()
    torch.testing.assert_close(probs.sum((1, 2)), torch.tensor([1.0, 0.0, 1.0]))


def test_convolution_equals_a_loop_over_sites() -> None:
    mask, weight = random_mask(2, 5), torch.randn(3, 4, 3, 3, dtype=torch.float64)
    maps = random_maps(mask)
    ours = reference.submanifold_conv2d(maps, mask, weight).numpy()
    expected = np.zeros_like(ours)
    for n, row, col in mask.nonzero().tolist():
        for dr in (-1, 0, 1):
            for dc in (-1, 0, 1):
                r, c = row + dr, col + dc
                if 0 <= r < 5 and 0 <= c < 5 and mask[n, r, c]:
                    expected[n, :, row, col] += weight[:, :, dr + 1, dc + 1].numpy() @ maps[n, :, r, c].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-12)


def test_pooling_takes_the_largest_existing_input() -> None:
    mask, maps = torch.zeros(1, 4, 4, dtype=torch.bool), torch.zeros(1, 1, 4, 4)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 2, 3] = True
    maps[0, 0, 0, 0], maps[0, 0, 1, 1], maps[0, 0, 2, 3] = -5.0, -3.0, 2.0
    pooled, pooled_mask = reference.sparse_max_pool2d(maps, mask)
    assert pooled_mask[0].tolist() == [[True, False], [False, True]]
    assert pooled[0, 0].tolist() == [[-3.0, 0.0], [0.0, 2.0]]


def test_batch_norm_counts_active_sites_only() -> None:
    mask = random_mask()
    maps = random_maps(mask)
    norm = nn.BatchNorm1d(4, eps=1e-4).double()
    mean, var = torch.zeros(4).double(), torch.ones(4).double()
    ours = reference.sparse_batch_norm(maps, mask, mean, var, norm.weight, norm.bias, training=True)
    sites = maps.permute(0, 2, 3, 1)[mask]
    torch.testing.assert_close(ours.permute(0, 2, 3, 1)[mask], norm(sites))
    assert (ours.permute(0, 2, 3, 1)[~mask] == 0).all()
    assert norm.running_mean is not None
    torch.testing.assert_close(mean, norm.running_mean)


def test_batch_norm_of_a_single_site_is_finite_in_training() -> None:
    mask = torch.zeros(1, 3, 3, dtype=torch.bool)
    mask[0, 1, 1] = True
    ones, zeros = torch.ones(2), torch.zeros(2)
    out = reference.sparse_batch_norm(torch.ones(1, 2, 3, 3), mask, zeros, ones, ones, zeros, training=True)
    assert out.isfinite().all()


def test_gradients_reach_maps_and_weights() -> None:
    mask = random_mask(1, 4)
    maps = random_maps(mask, 2).requires_grad_()
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)

    def chain(maps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return reference.sparse_max_pool2d(reference.submanifold_conv2d(maps, mask, weight), mask)[0]

    assert torch.autograd.gradcheck(chain, (maps, weight))


def test_scores_equal_the_written_out_formula() -> None:
    generator = torch.Generator().manual_seed(3)
    maps, w_map = torch.randn(2, 3, 4, 4, generator=generator), torch.randn(6, 3, generator=generator)
    bias, w = torch.randn(6, generator=generator), torch.randn(6, generator=generator)
    scale, shift = torch.randn(2, 6, generator=generator), torch.randn(2, 6, generator=generator)
    ours = reference.attention_scores(maps, w_map, bias, w, scale, shift)
    expected = w @ torch.tanh(scale[1] * (w_map @ maps[1, :, 2, 3] + bias) + shift[1])
    torch.testing.assert_close(ours[1, 2, 3], expected)


def mask_of(kind: str) -> torch.Tensor:
    """Small masks: an empty frame beside others, one position, all."""
    mask = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(9)) < 0.5
    if kind == "empty frame":
        mask[0] = False
    elif kind == "single position":
        mask[:] = False
        mask[0, 1, 2] = mask[1, 3, 0] = True
    elif kind == "all":
        mask[:] = True
    return mask


@pytest.mark.parametrize("ops", [ReferenceOps(), PortableOps()], ids=lambda ops: ops.name)
@pytest.mark.parametrize("kind", ["some", "empty frame", "single position", "all"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_a_block_equal_finite_differences(ops: ReferenceOps, kind: str, training: bool) -> None:
    torch.manual_seed(1)
    mask = mask_of(kind)
    layers = [
        (nn.Conv2d(i, 3, 3, padding=1, bias=False).double(), nn.BatchNorm2d(3, eps=1e-4).double().train(training))
        for i in (2, 3)
    ]
    parameters = [p for layer in layers for module in layer for p in module.parameters()]

    def block(maps: torch.Tensor, gate: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return ops.max_pool(ops.conv_block(maps, mask, gate, layers), mask)[0]

    maps = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    gate = (torch.rand(2, 4, 3, dtype=torch.float64) + 0.5).requires_grad_()
    assert torch.autograd.gradcheck(block, (maps, gate, *parameters))


@pytest.mark.parametrize("kind", ["some", "empty frame", "single position", "all"])
def test_gradients_of_attention_equal_finite_differences(kind: str) -> None:
    torch.manual_seed(2)
    mask = mask_of(kind)
    shapes = ((2, 3, 4, 3), (4, 3), (4,), (4,), (2, 4), (1, 4))
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def attend(maps: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        return ReferenceOps().attend(maps, mask, AttentionWeights(*weights))

    assert torch.autograd.gradcheck(attend, given)
