"""The convolutional bodies of MTCNN's networks, arranged for a CPU: in C++ where it can be compiled, else in PyTorch.

Both take maps of pixels 0..255, ``(n, height, width, 3)``, and give ``(n, height', width', channels)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from maeum.media.mtcnn.kernels import kernels
from maeum.media.mtcnn.native import NativeBody
from maeum.media.mtcnn.networks import folded

Body = Callable[[NDArray[np.float32]], Tensor]


def fast_body(body: nn.Sequential, widths: Sequence[int]) -> Body:
    """The quickest form of a network's layers that this machine can run. widths: for PyTorch, see `ArrangedBody`."""
    lib = kernels()
    return ArrangedBody(body, widths) if lib is None else NativeBody(lib, body)


class ArrangedBody:
    """The layers in PyTorch, channels-last, with zero channels added up to ``widths``, which vector units like.

    The last width must be the layer's own, so that what follows sees the same features.
    """

    def __init__(self, body: nn.Sequential, widths: Sequence[int]) -> None:
        self._layers = _arranged(body, widths)

    def __call__(self, x: NDArray[np.float32]) -> Tensor:
        """See the module."""
        made: Tensor = self._layers(torch.from_numpy(x).permute(0, 3, 1, 2))
        return made.permute(0, 2, 3, 1)


def _arranged(body: nn.Sequential, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    wide_in = 3
    remaining = list(widths)
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            layers.append(_wider(layer, wide_in, remaining[0], first=not layers))
            wide_in = remaining[0]
        elif isinstance(layer, nn.PReLU):
            slopes = torch.zeros(remaining[0])
            slopes[: layer.num_parameters] = layer.weight
            wide = nn.PReLU(remaining.pop(0))
            wide.weight = nn.Parameter(slopes, requires_grad=False)
            layers.append(wide)
        else:
            layers.append(_Halved() if layer.kernel_size == 2 else layer)
    return _channels_last(nn.Sequential(*layers).eval().requires_grad_(False))


class _Halved(nn.Module):
    """Max-pool 2, with an odd last row or column pooled by itself, for channels-last maps: x3 torch's own."""

    def forward(self, x: Tensor) -> Tensor:
        """``(n, c, h, w)`` -> ``(n, c, ceil(h / 2), ceil(w / 2))``."""
        n, channels, height, width = x.shape
        if height % 2 or width % 2:
            return functional.max_pool2d(x, 2, ceil_mode=True)
        rows = x.permute(0, 2, 3, 1).reshape(-1, 2, width * channels)
        pairs = torch.maximum(rows[:, 0], rows[:, 1]).view(-1, 2, channels)
        halved = torch.maximum(pairs[:, 0], pairs[:, 1])
        return halved.view(n, height // 2, width // 2, channels).permute(0, 3, 1, 2)


def _channels_last(body: nn.Sequential) -> nn.Sequential:
    """The same layers with weights stored channels-last."""
    for parameter in body.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return body


def _wider(layer: nn.Conv2d, wide_in: int, wide_out: int, *, first: bool) -> nn.Conv2d:
    assert layer.bias is not None
    own_weight, own_bias = folded(layer) if first else (layer.weight, layer.bias)
    height, width = layer.weight.shape[2:]
    weight, bias = torch.zeros(wide_out, wide_in, height, width), torch.zeros(wide_out)
    weight[: layer.out_channels, : layer.in_channels] = own_weight
    bias[: layer.out_channels] = own_bias
    wide = nn.Conv2d(wide_in, wide_out, (height, width))
    wide.weight, wide.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return wide
