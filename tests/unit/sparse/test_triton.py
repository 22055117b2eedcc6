"""The operators in Triton against the definition in float64: on a GPU where there is one, else interpreted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from maeum.sparse import AttentionWeights, PortableOps, operators
from maeum.sparse.portable_ops import neighbours
from sparse_cases import (
    FP32,
    assert_learns_alike,
    assert_same_attention,
    assert_same_block,
    attention_of,
    double,
    error,
    full,
    layers_of,
    maps_of,
    masks,
    pairs,
    several,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"  # read when it is imported
pytest.importorskip("triton", reason="triton is not installed (extra gpu)")

from maeum.sparse import triton_ops  # noqa: E402
from maeum.sparse.triton_ops import TritonOps  # noqa: E402

if DEVICE == "cpu" and not triton_ops._INTERPRETED:
    pytest.skip("no GPU, and triton was imported without its interpreter", allow_module_level=True)
pytestmark = pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")

OPS = TritonOps()
OPS.dense_from = 2.0  # never the dense convolution
#: Channels: fewer than a program takes, not whole programs, more than one takes.
CHANNELS = [(1, 5), (24, 72)]
SCATTERED = torch.rand(3, 11, 13, generator=torch.Generator().manual_seed(0)) < 0.3


@pytest.mark.parametrize("channels", CHANNELS)
@several(6)
@given(mask=masks(), gated=st.booleans())
@example(mask=torch.zeros(2, 5, 4, dtype=torch.bool), gated=True)
@example(mask=full(1, 1, 1), gated=False)
@example(mask=full(1, 9, 8), gated=False)
@example(mask=SCATTERED, gated=True)
@torch.no_grad()
def test_blocks_equal_the_definition(channels: tuple[int, int], mask: Tensor, gated: bool) -> None:
    assert_same_block(OPS, channels, mask, gated=gated, device=DEVICE)


@pytest.mark.parametrize("channels", CHANNELS)
@several(6)
@given(mask=masks())
@example(mask=torch.zeros(2, 5, 4, dtype=torch.bool))
@example(mask=full(1, 1, 1))
@example(mask=SCATTERED)
def test_a_convolution_and_its_gradients_equal_those_in_float64(channels: tuple[int, int], mask: Tensor) -> None:
    sites = mask.flatten().nonzero()[:, 0]
    around, generator = neighbours(mask, sites), torch.Generator().manual_seed(4)
    rows = torch.randn(len(sites), channels[0], generator=generator)
    weight = torch.randn(channels[1], channels[0], 3, 3, generator=generator)
    pattern = torch.randn(len(sites), channels[1], generator=generator)

    def through(ops: PortableOps, *tensors: Tensor) -> list[Tensor]:
        around, pattern, *given = tensors
        given = [t.clone().requires_grad_() for t in given]
        made = ops.convolve(given[0], around, given[1])
        made.backward(pattern)
        assert isinstance(ops, TritonOps) == ("_Convolve" in type(made.grad_fn).__name__)
        return [made.detach(), *(t.grad for t in given if t.grad is not None)]

    ours = through(OPS, *(t.to(DEVICE) for t in (around, pattern, rows, weight)))
    exact = through(PortableOps(), around, *(t.double() for t in (pattern, rows, weight)))
    assert len(ours) == len(exact) == 3
    for one, other in zip(ours, exact, strict=True):
        assert error(one.cpu(), other) < FP32


def test_the_gradient_of_weights_is_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_ops, "_LEAST_SITES", 16)
    generator = torch.Generator().manual_seed(5)
    for sites in (1, 16, 17, 100):
        mask = torch.zeros(1, 10, 10, dtype=torch.bool).flatten()
        mask[torch.randperm(100, generator=generator)[:sites]] = True
        around = neighbours(mask.view(1, 10, 10), mask.nonzero()[:, 0])
        rows, gradient = torch.randn(2, sites, 8, generator=generator)
        weight = torch.zeros(8, 8, 3, 3, dtype=torch.float64, requires_grad=True)
        PortableOps().convolve(rows.double(), around, weight).backward(gradient.double())
        ours = triton_ops._weight_gradient(*(t.to(DEVICE) for t in (rows, around, gradient)))
        assert weight.grad is not None
        assert error(ours.cpu(), weight.grad) < FP32


@pytest.mark.skipif(DEVICE != "cpu", reason="compares on the CPU")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize(
    "mask", [SCATTERED, torch.zeros(2, 4, 4, dtype=torch.bool), full(1, 2, 2) & (torch.arange(4).view(1, 2, 2) == 3)]
)
def test_blocks_learn_as_the_definition_does(mask: Tensor, gated: bool, training: bool) -> None:
    assert_learns_alike(OPS, mask, (20, 40), training=training, gated=gated, bound=FP32)


@pytest.mark.parametrize("channels", [1, 20, 72])
@several(6)
@given(mask=masks(), scale=st.sampled_from([0.01, 0.3, 3.0]), channels_last=st.booleans())
@example(mask=torch.zeros(2, 5, 4, dtype=torch.bool), scale=0.3, channels_last=True)
@example(mask=full(1, 1, 1), scale=0.3, channels_last=False)
@example(mask=full(2, 9, 8), scale=0.3, channels_last=True)
@torch.no_grad()
def test_attention_equals_the_definition(channels: int, mask: Tensor, scale: float, channels_last: bool) -> None:
    maps = maps_of(mask, channels) * scale
    maps = maps.contiguous(memory_format=torch.channels_last) if channels_last else maps
    assert_same_attention(OPS, maps, mask, attention_of(channels, len(mask)), device=DEVICE)


@torch.no_grad()
def test_maps_may_lie_in_memory_in_any_way() -> None:
    mask = SCATTERED.transpose(1, 2).to(DEVICE)
    maps, layers = maps_of(full(3, 13, 22), 16)[..., ::2].to(DEVICE), pairs(layers_of(16, 24).to(DEVICE))
    weights = AttentionWeights(*(w.to(DEVICE) for w in attention_of(16, 3)))
    for given_maps in (maps, maps.contiguous(memory_format=torch.channels_last)):
        expected = OPS.conv_block(maps.contiguous(), mask.contiguous(), None, layers)
        assert torch.equal(OPS.conv_block(given_maps, mask, None, layers), expected)
        expected = OPS.attend(maps.contiguous(), mask.contiguous(), weights)
        assert torch.equal(OPS.attend(given_maps, mask, weights), expected)


def test_what_it_is_not_made_for_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in ("_convolve", "_of_weight", "_score", "_softmax"):
        monkeypatch.setattr(triton_ops, kernel, None)  # a call would fail
    maps, layers, weights = maps_of(SCATTERED, 8), layers_of(8, 16), attention_of(8, 3)
    in_double = [*pairs(double(layers))], AttentionWeights(*(w.double() for w in weights))
    portable = PortableOps()
    exact = portable.conv_block(maps.double(), SCATTERED, None, in_double[0])
    assert torch.equal(OPS.conv_block(maps.double(), SCATTERED, None, in_double[0]), exact)
    assert torch.equal(
        OPS.attend(maps.double(), SCATTERED, in_double[1]), portable.attend(maps.double(), SCATTERED, in_double[1])
    )
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert OPS.conv_block(maps, SCATTERED, None, pairs(layers)).dtype == torch.bfloat16
    w = weights.w.requires_grad_()
    OPS.attend(maps, SCATTERED, weights).square().sum().backward()
    assert w.grad is not None
    monkeypatch.setattr(triton_ops, "_INTERPRETED", False)
    with torch.no_grad():
        OPS.attend(maps, SCATTERED, weights)
        OPS.conv_block(maps, SCATTERED, None, pairs(layers))


COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from maeum.sparse import triton_ops as ops

def check(kernel, types, *constants, **ones):
    types = dict(zip(kernel.arg_names, types.split() + ["constexpr"] * len(constants), strict=True))
    constants = dict(zip(list(types)[-len(constants):], constants)) | ones
    types |= dict.fromkeys(ones, "constexpr")  # so Triton takes an argument that is 1
    assert compile(ASTSource(kernel, types, constants), target=GPUTarget("cuda", 80, 32)).asm["cubin"]

blocks = ops._SITES, ops._IN, ops._OUT
for one in ({}, {"count": 1, "channels_in": 1, "channels_out": 1}):
    check(ops._convolve, "*fp32 *i64 *fp32 *fp32 *fp32 i32 i32 i32", True, *blocks, **one)
    check(ops._of_weight, "*fp32 *i64 *fp32 *fp32 i32 i32 i32 i32", *blocks[1:], **one)
for one in ({"stride_p": 1}, {"positions": 1, "channels": 1, "hidden": 1}):
    check(ops._score, "*fp32 " * 7 + "i32 " * 6, *blocks, **one)
check(ops._softmax, "*fp32 *i1 *fp32 i32", 1024)
check(ops._softmax, "*fp32 *i1 *fp32 i32", 1, positions=1)
"""


def test_kernels_compile_for_a_gpu() -> None:
    """For compute capability 8.0, which needs no GPU; that they run there is another matter."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from maeum.reports.inventory import _sparse

    monkeypatch.setenv("MAEUM_SPARSE", "triton")
    operators.cache_clear()
    try:
        assert isinstance(operators(), TritonOps)
        assert "NOT VERIFIED ON A GPU" in _sparse().text
    finally:
        operators.cache_clear()
