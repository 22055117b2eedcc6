from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor, nn

from maeum.training.cpu import linear
from maeum.training.cpu.linear import Linear, products_of_one_thread, quicken_linear

CHOOSE = linear.quicker.__wrapped__


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Shapes that numpy multiplied, on any processor."""
    found: list[tuple[int, ...]] = []
    multiply = linear._multiply

    def counted(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
        found.append((*left.shape, right.shape[1]))
        return multiply(left, right, out)

    monkeypatch.setattr(linear, "quicker", lambda: True)
    monkeypatch.setattr(linear, "_multiply", counted)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with products_of_one_thread():
        yield found
    torch.set_num_threads(threads)


INPUTS = {
    "one row": lambda: torch.randn(5),
    "rows": lambda: torch.randn(7, 5),
    "a batch": lambda: torch.randn(2, 3, 5),
    "turned": lambda: torch.randn(5, 3, 2).permute(2, 1, 0),
    "expanded": lambda: torch.randn(1, 5).expand(4, 5),
    "every other": lambda: torch.randn(6, 10)[::2, ::2],
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("even", [True, False])
def test_the_same_as_torch(products: list[tuple[int, ...]], kind: str, biased: bool, even: bool) -> None:
    """The gradient of a sum is one number at every place; its strides are zero."""
    torch.manual_seed(0)
    layer = Linear(5, 4, bias=biased)
    reference = nn.Linear(5, 4, bias=biased).double()
    reference.load_state_dict(layer.state_dict())
    x = INPUTS[kind]().requires_grad_()
    y = x.detach().double().requires_grad_()
    said, wanted = layer(x), reference(y)
    assert said.is_contiguous()
    torch.testing.assert_close(said.double(), wanted, rtol=1e-5, atol=1e-6)
    change = torch.ones(()).expand(said.shape) if even else torch.randn_like(said)
    said.backward(change)
    wanted.backward(change.double())
    rows = x.numel() // 5
    assert products == [(rows, 5, 4), (rows, 4, 5), (4, rows, 5)]
    pairs = [(x, y), *zip(layer.parameters(), reference.parameters(), strict=True)]
    for mine, theirs in pairs:
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(mine.grad.double(), theirs.grad, rtol=1e-5, atol=1e-5)


def test_only_what_is_learned_is_multiplied(products: list[tuple[int, ...]]) -> None:
    layer = Linear(3, 2)
    layer.weight.requires_grad_(False)
    layer(torch.randn(4, 3)).sum().backward()
    assert len(products) == 1
    layer(torch.randn(4, 3, requires_grad=True)).sum().backward()
    assert len(products) == 3
    with torch.no_grad():
        assert not layer(torch.randn(4, 3)).requires_grad
    assert len(products) == 4


def test_what_comes_out_may_be_changed_in_place(products: list[tuple[int, ...]]) -> None:
    """As transformers does, where it hides stretches of sound."""
    layer = Linear(3, 3)
    said = layer(torch.ones(2, 2, 3))
    said[torch.tensor([[True, False], [False, True]])] = torch.zeros(3)
    said.sum().backward()
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("kind", ["threads", "float64", "autocast", "empty"])
def test_everything_else_is_multiplied_by_torch(products: list[tuple[int, ...]], kind: str) -> None:
    layer = Linear(3, 2).to(torch.float64 if kind == "float64" else torch.float32)
    x = torch.randn(0 if kind == "empty" else 4, 3, dtype=layer.weight.dtype)
    if kind == "threads":
        torch.set_num_threads(2)
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        said = layer(x)
    assert said.dtype == (torch.bfloat16 if kind == "autocast" else x.dtype)
    assert said.shape == (len(x), 2)
    assert products == []


def test_a_model_keeps_its_weights() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 2, bias=False)), nn.Bilinear(2, 2, 1))
    names, values = model.state_dict().keys(), copy.deepcopy(model.state_dict())
    parameters = list(model.parameters())
    quicken_linear(model)
    assert [type(m) for m in model.modules() if isinstance(m, nn.Linear)] == [Linear, Linear]
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model.state_dict().keys() == names
    assert all(torch.equal(values[name], value) for name, value in copy.deepcopy(model).state_dict().items())


@pytest.mark.parametrize("maker", ["GenuineIntel", "AuthenticAMD"])
def test_numpy_is_chosen_by_the_processors_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {maker}\n")
    monkeypatch.setattr(linear, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(linear.platform, "processor", lambda: "x86_64")
    mixed = torch.backends.mkl.is_available() and "openblas" in {one["internal_api"] for one in threadpool_info()}
    assert CHOOSE() == (mixed and maker == "AuthenticAMD")


def test_numpy_starts_no_threads_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["internal_api"] == "openblas"}

    if not threads():
        pytest.skip("numpy without OpenBLAS")
    with threadpool_limits(2, "blas"):
        monkeypatch.setattr(linear, "quicker", lambda: True)
        with products_of_one_thread():
            assert threads() == {1}
            assert linear._ALONE
        assert threads() == {2}
        assert not linear._ALONE
        monkeypatch.setattr(linear, "quicker", lambda: False)
        with products_of_one_thread():
            assert threads() == {2}
            assert not linear._ALONE


def test_a_second_derivative_is_refused(products: list[tuple[int, ...]]) -> None:
    x = torch.randn(4, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(Linear(3, 2)(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
    assert products


def test_a_trained_network_can_be_exported(products: list[tuple[int, ...]]) -> None:
    layer, x = Linear(3, 2), torch.randn(4, 3)
    exported = torch.export.export(nn.Sequential(layer), (x,), strict=False).module()
    torch.testing.assert_close(exported(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert products == []
