"""Every form of the operators against the definition in float64."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given
from torch import Tensor, nn

from maeum.errors import ConfigError
from maeum.sparse import PortableOps, ReferenceOps, operators
from maeum.sparse.kernels import kernels
from maeum.sparse.native_ops import NativeOps, _Convolve, _Gather
from sparse_cases import (
    FP32,
    REFERENCE,
    assert_learns_alike,
    assert_same_attention,
    assert_same_block,
    attention_of,
    double,
    error,
    full,
    layers_of,
    learn,
    maps_of,
    masks,
    pairs,
    several,
)

KERNELS = kernels()
NATIVE = NativeOps(KERNELS) if KERNELS is not None else None
FORMS = [
    pytest.param(PortableOps(), id="portable"),
    pytest.param(NATIVE, id="native", marks=pytest.mark.skipif(NATIVE is None, reason="no kernels in C++")),
]
BF16 = 2e-2
#: Channels: fewer than a vector, not whole vectors, more than the micro-kernel takes at a time.
CHANNELS = [(1, 5), (16, 16), (20, 40), (64, 144)]
needs_bf16 = pytest.mark.skipif(KERNELS is None or not KERNELS.has_bf16, reason="bf16 is not multiplied here")


@pytest.mark.parametrize("ops", FORMS)
@pytest.mark.parametrize("channels", CHANNELS)
@several(40)
@given(mask=masks(), gated=st.booleans())
@example(mask=torch.zeros(2, 5, 4, dtype=torch.bool), gated=True)
@example(mask=full(1, 1, 1), gated=False)
@example(mask=full(1, 25, 24), gated=False)
@example(mask=full(512, 3, 3), gated=True)
@example(mask=torch.rand(6, 24, 24, generator=torch.Generator().manual_seed(0)) < 0.3, gated=False)
@torch.no_grad()
def test_blocks_equal_the_definition(ops: ReferenceOps, channels: tuple[int, int], mask: Tensor, gated: bool) -> None:
    assert_same_block(ops, channels, mask, gated=gated)


@needs_bf16
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("channels", CHANNELS)
@several(40)
@given(mask=masks())
@torch.no_grad()
def test_blocks_in_bf16_are_near_the_definition(channels: tuple[int, int], autocast: bool, mask: Tensor) -> None:
    layers, maps = layers_of(*channels), maps_of(mask, channels[0])
    exact = REFERENCE.conv_block(maps.double(), mask, None, pairs(double(layers)))
    assert NATIVE is not None
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        ours = NATIVE.conv_block(maps if autocast else maps.bfloat16(), mask, None, pairs(layers))
    assert ours.dtype == torch.bfloat16
    assert error(ours, exact) < BF16


@pytest.mark.parametrize("ops", FORMS)
@pytest.mark.parametrize("channels", CHANNELS)
@several(40)
@given(mask=masks())
def test_pooling_equals_the_definition(ops: ReferenceOps, channels: tuple[int, int], mask: Tensor) -> None:
    maps = maps_of(mask, channels[1]) * mask.unsqueeze(1)
    if min(mask.shape[1:]) < 2:
        mask, maps = torch.cat((mask, mask), 1).repeat(1, 1, 2), torch.cat((maps, maps), 2).repeat(1, 1, 1, 2)
    ours, pooled_mask = ops.max_pool(maps, mask)
    exact, exact_mask = REFERENCE.max_pool(maps, mask)
    assert torch.equal(pooled_mask, exact_mask)
    assert torch.equal(ours, exact)


@pytest.mark.parametrize("ops", FORMS)
@pytest.mark.parametrize("channels", [1, 16, 20, 144])
@several(40)
@given(mask=masks(), scale=st.sampled_from([0.01, 0.3, 3.0]))
@example(mask=full(2, 17, 16), scale=0.3)
@torch.no_grad()
def test_attention_equals_the_definition(ops: ReferenceOps, channels: int, mask: Tensor, scale: float) -> None:
    assert_same_attention(ops, maps_of(mask, channels) * scale, mask, attention_of(channels, len(mask)))


@pytest.mark.parametrize("ops", FORMS)
@several(40)
@given(mask=masks(), p=st.sampled_from([0.05, 0.3, 0.5, 0.8, 0.999, 1.0]), even=st.booleans(), liked=st.booleans())
def test_the_selection_equals_the_definition(
    ops: ReferenceOps, mask: Tensor, p: float, even: bool, liked: bool
) -> None:
    scores = torch.randn(mask.shape, generator=torch.Generator().manual_seed(6))
    probs = torch.softmax((scores.round() if even else scores * 3).masked_fill(~mask, -50.0).flatten(1), 1)
    probs = probs.view(mask.shape) * mask
    preference = torch.rand(mask.shape[1:], generator=torch.Generator().manual_seed(7)) * 9 + 1 if liked else None
    assert torch.equal(ops.top_p(probs, mask, p, preference), REFERENCE.top_p(probs, mask, p, preference))


@pytest.mark.parametrize("ops", FORMS)
@pytest.mark.parametrize("channels", [(3, 64), (2, 20)])
def test_gradients_of_the_stem_equal_those_of_the_definition(ops: ReferenceOps, channels: tuple[int, int]) -> None:
    first = nn.ModuleList([nn.Conv2d(channels[0], channels[1], 5, padding=2), layers_of(1, channels[1])[1]])
    layers = nn.ModuleList([*first, *layers_of(channels[1], channels[1], bias=True)]).train()
    maps = torch.randn(4, channels[0], 14, 12, generator=torch.Generator().manual_seed(2))

    def through(form: ReferenceOps, layers: nn.ModuleList, maps: Tensor) -> list[Tensor]:
        maps = maps.requires_grad_()
        made = form.stem(maps, pairs(layers)[0], pairs(layers)[1:])
        made.square().mean().backward()
        of_bias = [f"{i}.bias" for i in (0, 2, 4)]  # nothing, since the norm takes it off: rounding alone
        grads = [p.grad for name, p in layers.named_parameters() if name not in of_bias]
        return [made.detach(), *(g for g in (maps.grad, *grads) if g is not None), *layers.buffers()]

    exact_layers, fp32_layers = double(layers), copy.deepcopy(layers)
    ours, exact = through(ops, layers, maps.clone()), through(REFERENCE, exact_layers, maps.double())
    rounding = max(map(error, through(REFERENCE, fp32_layers, maps.clone()), exact))
    for one, other in zip(ours, exact, strict=True):
        assert error(one, other) < 4 * max(FP32, rounding)  # three layers deep


@pytest.mark.parametrize("ops", FORMS)
@pytest.mark.parametrize(("size", "kernel"), [((48, 48), 5), ((9, 6), 5), ((7, 12), 3)])
@pytest.mark.parametrize("channels", CHANNELS)
@torch.no_grad()
def test_the_stem_equals_the_definition(
    ops: ReferenceOps, size: tuple[int, int], kernel: int, channels: tuple[int, int]
) -> None:
    rest, maps = layers_of(channels[1], channels[1], bias=True), torch.randn(3, channels[0], *size)
    first = nn.ModuleList(
        [nn.Conv2d(channels[0], channels[1], kernel, padding=kernel // 2), layers_of(1, channels[1])[1]]
    )
    ours = ops.stem(maps, pairs(first)[0], pairs(rest))
    exact = REFERENCE.stem(maps.double(), pairs(double(first))[0], pairs(double(rest)))
    assert error(ours, exact) < FP32
    if KERNELS is not None and KERNELS.has_bf16:
        with torch.autocast("cpu", torch.bfloat16):
            assert error(ops.stem(maps, pairs(first)[0], pairs(rest)), exact) < BF16


@pytest.mark.parametrize("ops", FORMS)
@pytest.mark.parametrize("channels", [(16, 48), (20, 40), (64, 144)])
@pytest.mark.parametrize("training", [True, False])
@several(15)
@given(mask=masks(), gated=st.booleans())
@example(mask=torch.zeros(2, 4, 4, dtype=torch.bool), gated=True)
@example(mask=full(1, 2, 2) & (torch.arange(4).view(1, 2, 2) == 3), gated=True)
@example(mask=full(20, 12, 12), gated=False)
@example(mask=torch.rand(9, 24, 24, generator=torch.Generator().manual_seed(0)) < 0.3, gated=True)
def test_gradients_equal_those_of_the_definition(
    ops: ReferenceOps, channels: tuple[int, int], training: bool, mask: Tensor, gated: bool
) -> None:
    assert_learns_alike(ops, mask, channels, training=training, gated=gated, bound=FP32)


@needs_bf16
@pytest.mark.parametrize("kept", [0.3, 0.7, 1.1])
def test_gradients_of_a_convolution_in_bf16_are_near_those_of_a_dense_one(kept: float) -> None:
    assert KERNELS is not None
    mask = torch.rand(6, 24, 23, generator=torch.Generator().manual_seed(0)) < kept
    maps, conv = maps_of(mask, 64).bfloat16(), layers_of(64, 144, count=1)[0]
    given, weight = maps.clone().requires_grad_(), conv.weight
    plan = KERNELS.plan(mask, (6, 24, 23))
    rows = _Gather.apply(KERNELS, plan, True, given, None)
    made = _Convolve.apply(KERNELS, plan, True, rows, weight, None)
    pattern = torch.randn(made.shape, generator=torch.Generator().manual_seed(1))
    made.backward(pattern.bfloat16())
    exact = (maps.double() * mask.unsqueeze(1)).requires_grad_(), weight.detach().double().requires_grad_()
    dense = torch.nn.functional.conv2d(*exact, padding=1).permute(0, 2, 3, 1)[mask]
    dense.backward(pattern.double())
    assert error(made.detach(), dense.detach()) < BF16
    assert error(given.grad, exact[0].grad * mask.unsqueeze(1)) < BF16
    assert error(weight.grad, exact[1].grad) < BF16


@needs_bf16
def test_gradients_in_bf16_are_as_near_the_definition_as_its_own() -> None:
    """Through batch norm, ReLU and pooling, where rounding lets others pass."""
    mask = torch.rand(6, 24, 24, generator=torch.Generator().manual_seed(0)) < 0.7
    layers, maps = layers_of(64, 144).train(), maps_of(mask, 64)
    exact = learn(REFERENCE, mask, double(layers), maps.double(), None)
    others = copy.deepcopy(layers)
    assert NATIVE is not None
    with torch.autocast("cpu", torch.bfloat16):
        ours = learn(NATIVE, mask, layers, maps, None)
        theirs = learn(REFERENCE, mask, others, maps, None)
    for one, other, right in zip(ours, theirs, exact, strict=True):
        assert float((one.double() - right).norm()) < 1.5 * float((other.double() - right).norm())


@pytest.mark.parametrize("ops", FORMS)
@pytest.mark.parametrize("channels", [16, 20])
def test_gradients_of_a_convolution_equal_those_of_a_masked_dense_one(ops: ReferenceOps, channels: int) -> None:
    """By hand: of one layer whose norm does nothing and whose ReLU lets everything through."""
    mask = torch.rand(3, 9, 10, generator=torch.Generator().manual_seed(1)) < 0.4
    layers = layers_of(channels, channels, count=1)
    nn.init.ones_(layers[1].weight)  # type: ignore[arg-type]
    nn.init.constant_(layers[1].bias, 1000.0)  # type: ignore[arg-type]
    layers[1].running_mean.zero_()  # type: ignore[union-attr, operator]
    layers[1].running_var.fill_(1 - 1e-4)  # type: ignore[union-attr, operator]
    maps = maps_of(mask, channels)
    ours = learn(ops, mask, layers, maps, None)[1:3]
    exact = (maps.double() * mask.unsqueeze(1)).requires_grad_(), layers[0].weight.detach().double().requires_grad_()
    made = torch.nn.functional.conv2d(*exact, padding=1) * mask.unsqueeze(1)
    pooled = REFERENCE.max_pool(made, mask)[0]
    (pooled * torch.arange(pooled.numel(), dtype=torch.float64).view(pooled.shape).sin()).sum().backward()
    assert error(ours[0], exact[0].grad * mask.unsqueeze(1)) < FP32
    assert error(ours[1], exact[1].grad) < FP32


@pytest.mark.parametrize("ops", FORMS)
@torch.no_grad()
def test_weights_that_change_are_seen(ops: ReferenceOps) -> None:
    mask, layers = full(2, 6, 6), layers_of(16, 16)
    maps = maps_of(mask, 16)
    before = ops.conv_block(maps, mask, None, pairs(layers))
    layers[0].weight.mul_(2)  # type: ignore[operator]
    layers[3].running_mean.add_(0.5)  # type: ignore[union-attr, operator]
    after = ops.conv_block(maps, mask, None, pairs(layers))
    assert not torch.allclose(before, after)
    assert error(after, REFERENCE.conv_block(maps.double(), mask, None, pairs(double(layers)))) < FP32


@pytest.mark.parametrize("ops", FORMS)
@torch.no_grad()
def test_a_frame_is_the_same_in_any_company_and_on_any_number_of_threads(ops: ReferenceOps) -> None:
    mask = torch.rand(40, 12, 12, generator=torch.Generator().manual_seed(7)) < 0.6
    maps, layers = maps_of(mask, 64), pairs(layers_of(64, 128))
    together = ops.conv_block(maps, mask, None, layers)
    torch.testing.assert_close(ops.conv_block(maps[7:8], mask[7:8], None, layers), together[7:8])
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(ops.conv_block(maps, mask, None, layers), ops.conv_block(maps, mask, None, layers))
        torch.testing.assert_close(ops.conv_block(maps, mask, None, layers), together)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("ops", FORMS)
@torch.no_grad()
def test_maps_may_lie_in_memory_in_any_way(ops: ReferenceOps) -> None:
    mask = (torch.rand(3, 10, 8, generator=torch.Generator().manual_seed(8)) < 0.5).transpose(1, 2)
    layers = pairs(layers_of(16, 32))
    maps = maps_of(full(3, 8, 20), 16)[..., ::2]
    expected = ops.conv_block(maps.contiguous(), mask.contiguous(), None, layers)
    assert torch.equal(ops.conv_block(maps, mask, None, layers), expected)
    assert torch.equal(ops.conv_block(maps.contiguous(memory_format=torch.channels_last), mask, None, layers), expected)


def test_several_threads_may_compute_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    ops = operators()
    mask = torch.rand(8, 12, 12, generator=torch.Generator().manual_seed(9)) < 0.5
    maps, layers = maps_of(mask, 32), pairs(layers_of(32, 64))

    def compute(_: int) -> Tensor:
        with torch.no_grad():
            return ops.conv_block(maps, mask, None, layers)

    expected = compute(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(made, expected) for made in pool.map(compute, range(24)))


NAME = "from maeum.sparse import operators; print(operators().name)"


def chosen(**environment: str) -> str:
    settings_ = {k: v for k, v in os.environ.items() if k not in {"MAEUM_NATIVE", "MAEUM_SPARSE"}} | environment
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NAME], env=settings_, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["reference", "portable"])
def test_a_form_can_be_asked_for(name: str) -> None:
    assert chosen(MAEUM_SPARSE=name) == name


def test_the_quickest_form_that_there_is_is_chosen() -> None:
    assert chosen() == ("portable" if NATIVE is None else "native")
    assert chosen(MAEUM_NATIVE="0") == "portable"


def test_kernels_that_cannot_be_had_are_named() -> None:
    assert "turned off by MAEUM_NATIVE=0" in chosen(MAEUM_NATIVE="0", MAEUM_SPARSE="native")


def test_triton_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)  # as if it were not there
    monkeypatch.delitem(sys.modules, "maeum.sparse.triton_ops", raising=False)
    monkeypatch.setenv("MAEUM_SPARSE", "triton")
    operators.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"MAEUM_SPARSE=triton: no triton: .*maeum\[gpu\]"):
            operators()
    finally:
        operators.cache_clear()


def test_kernels_that_fail_are_warned_of_and_missing_ones_are_not(tmp_path: Path) -> None:
    bad = tmp_path / "c++"
    bad.write_text("#!/bin/sh\necho 'internal error: out of luck' >&2\nexit 1\n")
    bad.chmod(0o755)
    cache = str(tmp_path / "cache")
    said = chosen(PATH=f"{tmp_path}:/bin:/usr/bin", XDG_CACHE_HOME=cache, CXX=str(bad))
    assert said == f"UserWarning: MESM runs without its kernels in C++: {bad} failed: internal error: out of luck"
    assert chosen(PATH="/nowhere", XDG_CACHE_HOME=cache) == "portable"


def test_an_unknown_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAEUM_SPARSE", "quick")
    operators.cache_clear()
    try:
        with pytest.raises(ConfigError, match="quick"):
            operators()
    finally:
        operators.cache_clear()
