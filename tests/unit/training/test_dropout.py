from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from maeum.native import library
from maeum.training import dropout
from maeum.training.dropout import Dropout, quicken_dropout

KERNEL = dropout._kernel.__wrapped__


needs_kernel = pytest.mark.skipif(library("dropout") is None, reason="no kernel: no compiler, or MAEUM_NATIVE=0")


@needs_kernel
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_asked_share_is_dropped_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(999, 1001, requires_grad=True)
    dropped = Dropout(p)(values)
    count = dropped.numel()
    assert abs(float((dropped == 0).float().mean()) - p) < 4 * (p * (1 - p) / count) ** 0.5
    assert dropped.detach().unique().tolist() == [0.0, pytest.approx(1 / (1 - p), rel=1e-2)]
    assert float(dropped.detach().double().mean()) == pytest.approx(1, abs=0.02)
    dropped.backward(torch.full_like(dropped, 2.0))
    assert values.grad is not None
    torch.testing.assert_close(values.grad, 2 * dropped.detach())


@needs_kernel
def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    gone = (Dropout(0.3)(torch.ones(1 << 20)) == 0).double()
    for apart in (1, 2, 3, 4, 5, 16, 32, 64, 1024, 8192):
        both = float((gone[apart:] * gone[:-apart]).mean())
        assert both == pytest.approx(0.09, abs=0.002)


@needs_kernel
def test_a_seed_says_what_is_dropped() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(Dropout(0.5)(torch.ones(77)))
    assert torch.equal(*drawn)


@needs_kernel
@pytest.mark.parametrize("p", [0.0, 1.0, 1e-9])
def test_nothing_and_everything(p: float) -> None:
    assert torch.equal(Dropout(p)(torch.ones(5)), torch.full((5,), 0.0 if p == 1.0 else 1.0))


@needs_kernel
def test_any_shape() -> None:
    for shape in ((0, 3), (), (1,), (5, 0), (7, 3, 2)):
        assert Dropout(0.5)(torch.ones(shape)).shape == shape


@needs_kernel
def test_a_model_keeps_its_weights_and_its_answers() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 8, 0.4, batch_first=True)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.TransformerEncoder(layer, 2), nn.Dropout1d(0.1)).eval()
    quick = copy.deepcopy(model)
    quicken_dropout(quick)
    assert quick.state_dict().keys() == model.state_dict().keys()
    kinds = [type(m) for m in quick.modules()]
    assert nn.Dropout not in kinds
    assert nn.Dropout1d in kinds
    assert {m.p for m in quick.modules() if isinstance(m, Dropout)} == {0.2, 0.4}
    values = torch.randn(3, 5, 4)
    assert torch.equal(model(values), quick(values))
    quick.train()
    assert not torch.equal(quick(values), quick(values))


@needs_kernel
def test_masks_are_the_same_whatever_the_threads() -> None:
    threads, drawn = torch.get_num_threads(), []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        torch.manual_seed(3)
        drawn.append(Dropout(0.5)(torch.ones(5 * 8192 + 7)))
    torch.set_num_threads(threads)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@needs_kernel
def test_what_is_left_behind_whole_vectors_is_dropped_independently() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.5)
    ends = torch.stack([(layer(torch.ones(8192 + 9))[-9:] == 0).float() for _ in range(4000)])
    assert float((ends.mean(0) - 0.5).abs().max()) < 0.05
    assert float((torch.corrcoef(ends.T) - torch.eye(9)).abs().max()) < 0.1


@needs_kernel
def test_blocks_and_calls_share_no_mask() -> None:
    torch.manual_seed(0)
    layer = Dropout(0.5)
    blocks = [(layer(torch.ones(3 * 8192)) == 0).view(3, 8192).double() for _ in range(3)]
    assert float((torch.corrcoef(torch.cat(blocks)) - torch.eye(9)).abs().max()) < 0.06


@needs_kernel
def test_gradients_of_gradients_and_turned_tensors() -> None:
    layer = Dropout(0.5)
    values = torch.randn(40, 30, requires_grad=True)
    dropped = layer(values.t())
    kept = 2 * (dropped != 0).float()
    torch.testing.assert_close(dropped, values.t() * kept)
    (slope,) = torch.autograd.grad((dropped**2).sum(), values, create_graph=True)
    torch.testing.assert_close(slope, 2 * values * kept.t() ** 2)
    (bend,) = torch.autograd.grad(slope.sum(), values)
    torch.testing.assert_close(bend, 2 * kept.t() ** 2)


@needs_kernel
def test_what_is_computed_again_has_the_same_mask() -> None:
    layer, gradients = Dropout(0.5), []
    values = torch.randn(1000, requires_grad=True)
    for again in (True, False):
        torch.manual_seed(5)
        dropped = (
            checkpoint(lambda x: layer(x * x).sin(), values, use_reentrant=False) if again else layer(values**2).sin()
        )
        gradients.append(torch.autograd.grad(dropped.sum(), values)[0])
    torch.testing.assert_close(*gradients)


def test_without_the_kernel_dropout_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "_kernel", lambda: None)
    values = torch.randn(1000)
    torch.manual_seed(4)
    result = Dropout(0.3)(values)
    torch.manual_seed(4)
    assert torch.equal(result, torch.nn.functional.dropout(values, 0.3))


def test_other_types_are_dropped_by_torch() -> None:
    values = torch.randn(1000).bfloat16()
    torch.manual_seed(4)
    result = Dropout(0.3)(values)
    torch.manual_seed(4)
    assert torch.equal(result, torch.nn.functional.dropout(values, 0.3))


def test_a_kernel_that_should_be_there_is_missed_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "library", lambda name: None)
    monkeypatch.setattr(dropout, "broken", lambda name: True)
    monkeypatch.setattr(dropout, "missing", lambda name: "c++ failed: why")
    with pytest.warns(UserWarning, match=r"dropout runs without its kernel in C\+\+: c\+\+ failed: why"):
        assert KERNEL() is None
