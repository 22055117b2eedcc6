"""The three networks of MTCNN on their published weights.

Zhang, Zhang, Li, Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", 2016.
The weights lie in the wheel of the package ``mtcnn``; they are read as plain arrays, so that TensorFlow is neither
needed nor imported.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maeum.errors import ModelError

_REMEDY = "Install it again: pip install --force-reinstall 'mtcnn>=1,<2'"


class ProposalNet(nn.Module):
    """P-Net: fully convolutional; one answer per 12x12 window at stride 2.

    forward: ``(n, 3, h, w)`` normalised -> box offsets ``(n, 4, h', w')``, probability of a face ``(n, h', w')``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 10, 3), nn.PReLU(10), nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(10, 16, 3), nn.PReLU(16),
            nn.Conv2d(16, 32, 3), nn.PReLU(32),
        )  # fmt: skip
        self.offsets = nn.Conv2d(32, 4, 1)
        self.face = nn.Conv2d(32, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.body(x)
        return self.offsets(x), self.face(x).softmax(1)[:, 1]


class RefineNet(nn.Module):
    """R-Net: ``(n, 3, 24, 24)`` -> box offsets ``(n, 4)``, probability of a face ``(n,)``."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 28, 3), nn.PReLU(28), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(28, 48, 3), nn.PReLU(48), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(48, 64, 2), nn.PReLU(64),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(576, 128), nn.PReLU(128))
        self.offsets = nn.Linear(128, 4)
        self.face = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        x = self.dense(_flat(self.body(x)))
        return self.offsets(x), self.face(x).softmax(1)[:, 1]


class OutputNet(nn.Module):
    """O-Net: ``(n, 3, 48, 48)`` -> offsets ``(n, 4)``, probability ``(n,)``, landmarks ``(n, 10)``: 5 x, then 5 y."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(32, 64, 3), nn.PReLU(64), nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Conv2d(64, 64, 3), nn.PReLU(64), nn.MaxPool2d(2, 2, ceil_mode=True),
            nn.Conv2d(64, 128, 2), nn.PReLU(128),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(1152, 256), nn.PReLU(256))
        self.offsets = nn.Linear(256, 4)
        self.landmarks = nn.Linear(256, 10)
        self.face = nn.Linear(256, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        x = self.dense(_flat(self.body(x)))
        return self.offsets(x), self.face(x).softmax(1)[:, 1], self.landmarks(x)


def _flat(x: Tensor) -> Tensor:
    """``(n, c, h, w)`` -> ``(n, w * h * c)``: the order in which the published dense layers were trained."""
    return x.permute(0, 3, 2, 1).flatten(1)


def folded(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a first convolution for pixels of 0..255, with the normalisation (x - 127.5) / 128 in them."""
    assert layer.bias is not None
    weight = layer.weight / 128.0
    return weight, layer.bias - 127.5 * weight.sum((1, 2, 3))


def load_networks() -> tuple[ProposalNet, RefineNet, OutputNet]:
    """P-, R- and O-Net with the published weights, ready for inference.

    Raises:
        ModelError: when the package that carries the weights is missing or damaged.
    """
    p, r, o = ProposalNet(), RefineNet(), OutputNet()
    for net, name in ((p, "pnet"), (r, "rnet"), (o, "onet")):
        _fill(net, name)
    return p, r, o


def _fill(net: nn.Module, name: str) -> None:
    """Copy arrays, which lie in the order of the layers, into parameters, which do as well."""
    arrays = _arrays(name)
    parameters = list(net.parameters())
    if len(arrays) != len(parameters):
        raise ModelError(f"holds {len(arrays)} arrays, not {len(parameters)}", item=f"weights {name}", remedy=_REMEDY)
    with torch.no_grad():
        for parameter, array in zip(parameters, arrays, strict=True):
            # convolutions lie as (h, w, in, out), dense layers as (in, out), PReLU slopes as (1, 1, out) or (out,)
            axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(parameter.ndim)
            value = torch.from_numpy(np.ascontiguousarray(array.transpose(axes) if axes else array.reshape(-1)))
            if value.shape != parameter.shape:
                raise ModelError(f"has an array of shape {array.shape}", item=f"weights {name}", remedy=_REMEDY)
            parameter.copy_(value)
    net.eval().requires_grad_(False)


@cache
def _arrays(name: str) -> tuple[NDArray[Any], ...]:
    spec = find_spec("mtcnn")
    if spec is None or spec.origin is None:
        raise ModelError(
            "the package mtcnn, which carries the weights, is missing", item="face detector", remedy=_REMEDY
        )
    path = Path(spec.origin).parent / "assets" / "weights" / f"{name}.lz4"
    try:
        return tuple(np.asarray(a, np.float32) for a in joblib.load(path))  # type: ignore[no-untyped-call]
    except (OSError, ValueError, EOFError, RuntimeError) as error:
        raise ModelError(f"cannot be read: {error}", item=path, remedy=_REMEDY) from error
