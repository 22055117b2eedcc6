"""Long grouped convolutions through the Fourier transform, on processors (`benchmarks/mmer.py`).

Speech encoders tell positions by a convolution over 128 steps of 768 channels in 16 groups, which takes a tenth of a
training step when it is computed as such.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Kernels shorter than this are convolved as before.
_LONG = 64


def quicken_long_convolutions(model: nn.Module) -> None:
    """Have every long `torch.nn.Conv1d` of a model that takes each step once computed by `convolve`, on processors."""
    for module in model.modules():
        if not isinstance(module, nn.Conv1d) or isinstance(module.padding, str) or module.padding_mode != "zeros":
            continue
        if module.kernel_size[0] >= _LONG and module.stride[0] == module.dilation[0] == 1:
            quick = partial(_convolve, padding=module.padding[0], groups=module.groups)
            setattr(module, "_conv_forward", quick)  # noqa: B010 - what torch's own forward calls with its weights


def convolve(input: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int, groups: int) -> Tensor:
    """What `torch.nn.functional.conv1d` gives, to rounding.

    The sound is cut into pieces that overlap by a kernel, so that what is transformed stays small.

    Args:
        input: ``(batch, channels, steps)``, fp32 or fp64.
        weight: ``(channels out, channels / groups, kernel)``.
        bias: ``(channels out,)``.
        padding: zeros at either end.
        groups: as torch's.
    """
    batch, _, steps = input.shape
    out, width, kernel = weight.shape
    size = 1 << kernel.bit_length()  # the next power of two above the kernel
    step = size - kernel + 1
    length = steps + 2 * padding - kernel + 1
    count = -(-length // step)
    padded = F.pad(input, (padding, count * step + kernel - 1 - steps - padding))
    sound = torch.fft.rfft(padded.unfold(2, size, step))
    bins = sound.shape[-1]
    sound = sound.view(batch, groups, width, count, bins).permute(4, 1, 0, 3, 2)
    waves = torch.fft.rfft(weight, size).conj().view(groups, out // groups, width, bins).permute(3, 0, 2, 1)
    product = torch.bmm(
        sound.reshape(bins * groups, batch * count, width), waves.reshape(bins * groups, width, out // groups)
    )
    product = product.view(bins, groups, batch, count, out // groups).permute(2, 1, 4, 3, 0)
    said: Tensor = torch.fft.irfft(product.reshape(batch, out, count, bins), size)[..., :step]
    said = said.reshape(batch, out, count * step)[..., :length]
    return said if bias is None else said + bias[:, None]


def _convolve(input: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int, groups: int) -> Tensor:
    long = input.dim() == 3 and input.shape[-1] + 2 * padding >= weight.shape[-1]
    if long and input.device.type == "cpu" and input.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
        return convolve(input, weight, bias, padding=padding, groups=groups)
    return F.conv1d(input, weight, bias, padding=padding, groups=groups)
