"""MTCNN's networks in C++: the same answers as those of `mtcnn_bodies` and `mtcnn_proposals` in PyTorch, sooner."""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maeum.media.mtcnn.integral import Edges, IntegralImage
from maeum.media.mtcnn.kernels import Layer
from maeum.media.mtcnn.networks import ProposalNet, folded

#: Channels are padded with zeros to whole vectors.
_LANES = 16


class NativeBody:
    """A network's convolutional layers, for maps of 0..255: ``(n, h, w, 3)`` -> ``(n, h', w', channels)``."""

    def __init__(self, lib: ctypes.CDLL, body: nn.Sequential) -> None:
        self._lib = lib
        self._held: list[Tensor] = []  # what the layers point to
        self.layers = (Layer * sum(isinstance(m, nn.Conv2d) for m in body))(*self._layers(body))

    def __call__(self, x: NDArray[np.float32]) -> Tensor:
        """See the class."""
        height, width = x.shape[1:3]
        for layer in self.layers:
            height, width = (_pooled(size - layer.kernel + 1, layer) for size in (height, width))
        made = torch.empty(len(x), height, width, self.layers[-1].channels_out)
        x = np.ascontiguousarray(x)
        self._lib.maeum_body(self.layers, len(self.layers), x.ctypes.data, *x.shape, made.data_ptr())
        return made

    def _layers(self, body: nn.Sequential) -> list[Layer]:
        layers: list[Layer] = []
        for module in body:
            if isinstance(module, nn.Conv2d):
                layers.append(self._convolution(module, first=not layers))
            elif isinstance(module, nn.PReLU):
                layers[-1].slopes = self._hold(_padded(module.weight))
            else:
                layers[-1].pool, layers[-1].pool_stride = module.kernel_size, module.stride
        return layers

    def _convolution(self, module: nn.Conv2d, *, first: bool) -> Layer:
        assert module.bias is not None
        weight, bias = folded(module) if first else (module.weight, module.bias)
        weight = _padded(weight)
        weight = weight.view(-1, _LANES, *weight.shape[1:]).permute(0, 3, 4, 2, 1)
        pointers = self._hold(weight), self._hold(_padded(bias))
        return Layer(module.kernel_size[0], module.in_channels, weight.shape[0] * _LANES, 1, 1, *pointers)

    def _hold(self, values: Tensor) -> int:
        self._held.append(values.contiguous())
        return self._held[-1].data_ptr()


class NativeProposer:
    """P-Net on a part of a pyramid level."""

    def __init__(self, lib: ctypes.CDLL, net: ProposalNet, least: float) -> None:
        assert net.face.bias is not None
        assert net.offsets.bias is not None
        self._lib, self._least = lib, least
        self._body = NativeBody(lib, net.body)
        weights = torch.cat((net.face.weight[1:] - net.face.weight[:1], net.offsets.weight)).flatten(1)
        biases = torch.cat((net.face.bias[1:] - net.face.bias[:1], net.offsets.bias))
        self._heads = torch.cat((weights, biases[:, None]), 1).contiguous()

    def __call__(self, picture: IntegralImage, rows: Edges, cols: Edges) -> NDArray[np.float32]:
        """Windows whose certainty's logit reaches ``least``: row, column, logit, four box offsets, ``(n, 7)``."""
        (top, bottom), (left, right), table = rows, cols, picture.table
        found = np.empty((max(1, (len(top) // 2) * (len(left) // 2)), 7), np.float32)  # room for every window
        number = self._lib.maeum_propose(
            self._body.layers, len(self._body.layers), self._heads.data_ptr(), self._least, table.ctypes.data,
            table.shape[1], top.ctypes.data, bottom.ctypes.data, len(top), left.ctypes.data, right.ctypes.data,
            len(left), found.ctypes.data,
        )  # fmt: skip
        return found[:number].copy()


def _padded(values: Tensor) -> Tensor:
    """Zeros appended along the first axis, up to whole vectors."""
    missing = -len(values) % _LANES
    return torch.cat((values, values.new_zeros(missing, *values.shape[1:])))


def _pooled(size: int, layer: Layer) -> int:
    steps: int = -(-(size - layer.pool) // layer.pool_stride)
    return max(steps, 0) + 1
