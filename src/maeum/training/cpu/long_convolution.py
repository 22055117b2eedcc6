"""Long grouped convolutions through the Fourier transform, on processors (`benchmarks/mmer.py`).

Speech encoders such as wav2vec2 encode positions by a convolution over 128 steps, of 768 channels in 16 groups.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Kernels shorter than this are convolved as before.
_LONG = 64


def quicken_long_convolutions(model: nn.Module) -> None:
    """Have every long `torch.nn.Conv1d` of a model, of groups of channels at each step, computed by `convolve`.

    fp32 on processors is, without autocast; anything else is convolved as before.
    """
    for module in model.modules():
        if not isinstance(module, nn.Conv1d) or type(module)._conv_forward is not nn.Conv1d._conv_forward:
            continue
        if isinstance(module.padding, str) or module.padding_mode != "zeros":
            continue
        grouped = 1 < module.groups < module.in_channels
        if grouped and module.kernel_size[0] >= _LONG and module.stride[0] == module.dilation[0] == 1:
            quick = partial(_convolve, padding=module.padding[0], groups=module.groups)
            setattr(module, "_conv_forward", quick)  # noqa: B010 - what torch's own forward calls with its weights


def convolve(input: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int, groups: int) -> Tensor:
    """The result of `torch.nn.functional.conv1d`, but for rounding.

    The input is cut into blocks that overlap by a kernel, so that each transform stays small.

    Args:
        input: ``(batch, channels, steps)``, fp32 or fp64.
        weight: ``(channels out, channels / groups, kernel)``.
        bias: ``(channels out,)``.
        padding: zeros at either end.
        groups: as torch's.
    """
    batch, _, steps = input.shape
    out, width, kernel = weight.shape
    size = 1 << (2 * kernel - 1).bit_length()  # at least twice the kernel
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
    convolved: Tensor = torch.fft.irfft(product.reshape(batch, out, count, bins), size)[..., :step]
    convolved = convolved.reshape(batch, out, count * step)[..., :length]
    return convolved.contiguous() if bias is None else convolved + bias[:, None]


def _convolve(input: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int, groups: int) -> Tensor:
    long = input.dim() == 3 and input.shape[-1] + 2 * padding >= weight.shape[-1]
    supported = input.device.type == "cpu" and input.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if long and supported and input.numel() and not torch.compiler.is_compiling():
        return convolve(input, weight, bias, padding=padding, groups=groups)
    return F.conv1d(input, weight, bias, padding=padding, groups=groups)
