"""Masks, maps and layers on which forms of the sparse operators are held to the definition."""

from __future__ import annotations

import copy

import hypothesis.strategies as st
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor, nn

from maeum.sparse import AttentionWeights, ConvNorm, ReferenceOps

REFERENCE = ReferenceOps()
#: The largest error of a result in fp32, relative to the largest value.
FP32 = 1e-5


def several(examples: int) -> settings:
    """So many drawn cases of a test, however long each takes."""
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Masks of frames that are empty, full, of one position, scattered and clustered, of any size."""
    n, height, width = draw(st.integers(1, 6)), draw(st.integers(1, 13)), draw(st.integers(1, 13))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    frames = []
    for _ in range(n):
        kind = draw(st.sampled_from(["none", "one", "all", "scattered", "clustered"]))
        noise = torch.rand(height, width, generator=generator)
        if kind == "clustered":
            rows, cols = torch.arange(height).view(-1, 1), torch.arange(width)
            noise = ((rows - int(noise[0, 0] * height)) ** 2 + (cols - int(noise[-1, -1] * width)) ** 2).float()
            noise = noise / noise.max().clamp(min=1)
        level = {"none": -1.0, "one": float(noise.min()), "all": 2.0}.get(kind, draw(st.floats(0.05, 0.95)))
        frames.append(noise <= level)
    return torch.stack(frames)


def full(n: int, height: int, width: int) -> Tensor:
    return torch.ones(n, height, width, dtype=torch.bool)


def maps_of(mask: Tensor, channels: int) -> Tensor:
    n, height, width = mask.shape
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(1))


def layers_of(channels_in: int, channels_out: int, count: int = 2, *, bias: bool = False) -> nn.ModuleList:
    torch.manual_seed(2)
    made = nn.ModuleList()
    for i in range(count):
        conv = nn.Conv2d(channels_in if i == 0 else channels_out, channels_out, 3, padding=1, bias=bias)
        norm = nn.BatchNorm2d(channels_out, eps=1e-4)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
            norm.running_mean.normal_()  # type: ignore[union-attr]
            norm.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        made.extend((conv, norm))
    return made.eval()


def pairs(layers: nn.ModuleList) -> list[ConvNorm]:
    return list(zip(layers[::2], layers[1::2], strict=True))  # type: ignore[arg-type]


def double(layers: nn.ModuleList) -> nn.ModuleList:
    return copy.deepcopy(layers).double()


def error(ours: Tensor, exact: Tensor) -> float:
    assert ours.shape == exact.shape
    return float((ours.double() - exact).abs().max() / exact.abs().max().clamp(min=1e-3)) if exact.numel() else 0.0


def attention_of(channels: int, n: int) -> AttentionWeights:
    generator = torch.Generator().manual_seed(4)
    shapes = ((channels, channels), (channels,), (channels,), (n, channels), (1, channels))
    return AttentionWeights(*(torch.randn(shape, generator=generator) for shape in shapes))


def assert_same_block(
    ops: ReferenceOps, channels: tuple[int, int], mask: Tensor, *, gated: bool, device: str = "cpu"
) -> None:
    """That a block of two convolutions gives what the definition does, outside training."""
    layers, maps = layers_of(*channels), maps_of(mask, channels[0])
    gate = torch.rand(mask.shape, generator=torch.Generator().manual_seed(3)) if gated else None
    exact = REFERENCE.conv_block(maps.double(), mask, None if gate is None else gate.double(), pairs(double(layers)))
    given_gate = None if gate is None else gate.to(device)
    ours = ops.conv_block(maps.to(device), mask.to(device), given_gate, pairs(layers.to(device))).cpu()
    assert error(ours, exact) < FP32
    assert not ours.permute(0, 2, 3, 1)[~mask].any()
    assert ours.dtype == torch.float32


def assert_same_attention(
    ops: ReferenceOps, maps: Tensor, mask: Tensor, weights: AttentionWeights, *, device: str = "cpu"
) -> None:
    """That attention's probabilities are those of the definition."""
    exact = REFERENCE.attend(maps.double(), mask, AttentionWeights(*(w.double() for w in weights)))
    ours = ops.attend(maps.to(device), mask.to(device), AttentionWeights(*(w.to(device) for w in weights))).cpu()
    # scores of up to some tens, of which the exponential is taken: their rounding counts that much more
    assert float((ours.double() - exact).abs().max()) < 3e-5
    assert not ours[~mask].any()


def learn(ops: ReferenceOps, mask: Tensor, layers: nn.ModuleList, maps: Tensor, gate: Tensor | None) -> list[Tensor]:
    """The result and all gradients, of training on what the operators give."""
    given = [t.clone().requires_grad_() for t in (maps, gate) if t is not None]
    for p in layers.parameters():
        p.grad = None
    made = ops.conv_block(given[0], mask, given[1] if gate is not None else None, pairs(layers))
    made = ops.max_pool(made, mask)[0] if min(mask.shape[1:]) > 1 else made
    pattern = torch.arange(made.numel(), dtype=torch.float64).view(made.shape).sin()
    (made * pattern.to(made.dtype)).sum().backward()
    grads = [t.grad for t in (*given, *layers.parameters())]
    running = [b for b in layers.buffers() if b.ndim]
    return [made.detach(), *(g for g in grads if g is not None), *running]


def assert_learns_alike(
    ops: ReferenceOps, mask: Tensor, channels: tuple[int, int], *, training: bool, gated: bool, bound: float
) -> None:
    """That results, gradients and running values of a block are those of the definition."""
    layers, maps = layers_of(*channels).train(training), maps_of(mask, channels[0])
    gate = torch.rand(mask.shape, generator=torch.Generator().manual_seed(3)) + 0.5 if gated else None
    exact_layers, fp32_layers = double(layers), copy.deepcopy(layers)
    ours = learn(ops, mask, layers, maps, gate)
    given = None if gate is None else gate.double()
    exact = learn(REFERENCE, mask, copy.deepcopy(exact_layers), maps.double(), given)
    # What the definition itself rounds in fp32: a batch of few sites is divided by its own small deviation. And what it
    # makes of maps that are rounded: a ReLU's gradient jumps where its input is almost zero.
    nudged = [maps.double() + 3e-6 * torch.randn_like(maps, dtype=torch.float64) for _ in range(4)]
    others = [learn(REFERENCE, mask, copy.deepcopy(exact_layers), one, given) for one in nudged]
    rounding = max(
        max(map(error, other, exact)) for other in (learn(REFERENCE, mask, fp32_layers, maps, gate), *others)
    )
    assert len(ours) == len(exact)
    for one, other in zip(ours, exact, strict=True):
        assert error(one, other) < max(bound, 4 * rounding)
