from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from maeum.training.cpu.long_convolution import convolve, quicken_long_convolutions


@pytest.mark.parametrize(
    ("batch", "steps", "channels", "out", "kernel", "groups", "padding"),
    [
        (2, 300, 12, 8, 128, 4, 64),
        (1, 1, 4, 4, 128, 1, 64),
        (3, 129, 6, 6, 65, 3, 32),
        (1, 70, 2, 4, 64, 2, 0),
        (1, 64, 2, 2, 64, 1, 0),
        (2, 257, 4, 4, 100, 2, 7),
        (1, 500, 4, 4, 127, 2, 63),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_the_same_as_torch(
    batch: int, steps: int, channels: int, out: int, kernel: int, groups: int, padding: int, biased: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, channels, steps, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(out, channels // groups, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(out, dtype=torch.float64, requires_grad=True) if biased else None
    inputs = [t for t in (x, weight, bias) if t is not None]
    said = convolve(x, weight, bias, padding=padding, groups=groups)
    wanted = nn.functional.conv1d(x, weight, bias, padding=padding, groups=groups)
    torch.testing.assert_close(said, wanted)
    change = torch.randn_like(wanted)
    torch.testing.assert_close(torch.autograd.grad(said, inputs, change), torch.autograd.grad(wanted, inputs, change))


def test_rounding_stays_small() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 96, 500), torch.randn(96, 48, 128) * 0.01
    said = convolve(x, weight, None, padding=64, groups=2)
    wanted = nn.functional.conv1d(x.double(), weight.double(), padding=64, groups=2)
    assert float((said - wanted).abs().max()) < 2e-6 * float(wanted.abs().max())


def test_a_speech_encoder_keeps_its_weights_and_its_answers() -> None:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
        conv_kernel=(10, 3), conv_stride=(5, 2), num_conv_pos_embedding_groups=4, num_feat_extract_layers=2,
    )  # fmt: skip
    model = Wav2Vec2Model(config).eval()
    quick = copy.deepcopy(model)
    quicken_long_convolutions(quick)
    quick = copy.deepcopy(quick)  # as averaging does
    assert quick.state_dict().keys() == model.state_dict().keys()
    quick.load_state_dict({k: v + 0.1 for k, v in model.state_dict().items()})
    model.load_state_dict(quick.state_dict())
    wave = torch.randn(2, 3000)
    before, after = model(wave).last_hidden_state, quick(wave).last_hidden_state
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert not torch.equal(after, before)
    before.sum().backward()
    after.sum().backward()
    for (name, a), b in zip(model.named_parameters(), quick.parameters(), strict=True):
        if a.grad is not None:
            torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(4, 4, 63, groups=2),
        nn.Conv1d(4, 4, 64),
        nn.Conv1d(4, 4, 64, groups=4),
        nn.Conv1d(4, 4, 64, groups=2, stride=2),
        nn.Conv1d(4, 4, 64, groups=2, dilation=2),
        nn.Conv1d(4, 4, 65, groups=2, padding="same"),
        nn.Conv1d(4, 4, 64, groups=2, padding=3, padding_mode="circular"),
    ],
)
def test_others_are_left_as_they_are(layer: nn.Conv1d) -> None:
    x = torch.randn(1, 4, 200)
    before = layer(x)
    quicken_long_convolutions(layer)
    assert torch.equal(layer(x), before)


def test_what_is_computed_as_before() -> None:
    layer = nn.Conv1d(4, 4, 64, groups=2, padding=5)
    x = torch.randn(4, 60)
    before = layer(x)
    quicken_long_convolutions(layer)
    assert torch.equal(layer(x), before)  # without a batch
    assert layer(x[None][:0]).shape == (0, 4, 7)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x[None]).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match="Kernel size"):
        layer(x[None, :, :20])
