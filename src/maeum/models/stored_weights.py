"""Weights as they lie in a model folder: in 32, 16 or 8 bit, and under names that earlier releases gave them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Container, Mapping
from typing import Literal

import torch
from torch import Tensor

#: How weights are stored; networks compute in float32 all the same.
Precision = Literal["float32", "float16", "int8"]
#: Follows the name of a matrix of 8-bit numbers: the factor of each of its rows.
_SCALE = "#scale"
#: Matrices with fewer numbers stay in 16 bit.
_LEAST_NUMBERS = 4096

#: Beginnings of names, earlier -> present.
_RENAMED = (
    (r"spell\.", "ctc_head."),
    (r"view\.", "projection."),
    (r"twin_view\.", "view_projection."),
    (r"stand_in$", "absent_text"),
    (r"voice_stand_in$", "absent_speech"),
)


def packed(weights: Mapping[str, Tensor], precision: Precision) -> dict[str, Tensor]:
    """Weights as they are stored.

    ``float16`` halves them. ``int8`` stores each row of a large matrix (of a convolution: each output channel) as 8-bit
    numbers and one factor, so that a weight is off by at most 1/254 of its row's largest; the rest as float16.
    """
    stored: dict[str, Tensor] = {}
    for name, given in weights.items():
        tensor = given.detach().cpu().contiguous()
        if precision == "float32" or not tensor.is_floating_point():
            stored[name] = tensor
        elif precision == "int8" and tensor.dim() > 1 and tensor.numel() >= _LEAST_NUMBERS:
            scale = (tensor.float().flatten(1).abs().amax(1) / 127).clamp(min=1e-12)
            stored[name] = (tensor.float() / _by_row(scale, tensor)).round().to(torch.int8)
            stored[name + _SCALE] = scale
        else:
            stored[name] = tensor.half()
    return stored


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `packed` was given, in float32; raises RuntimeError where a factor does not fit its matrix."""
    weights: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        scale = stored.get(name + _SCALE)
        if name.endswith(_SCALE):
            continue
        if scale is not None:
            if scale.shape != tensor.shape[:1]:
                raise RuntimeError(f"{name} has {len(tensor)} rows and {scale.numel()} factors")
            weights[name] = tensor.float() * _by_row(scale.float(), tensor)
        else:
            weights[name] = tensor.float() if tensor.is_floating_point() else tensor
    return weights


def _by_row(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (tensor.dim() - 1))


def with_present_names(weights: Mapping[str, Tensor], known: Container[str]) -> dict[str, Tensor]:
    """The weights by the names that a network has.

    Args:
        weights: as saved.
        known: the network's names; a weight of such a name keeps it.
    """
    return {name if name in known else _present_name(name): tensor for name, tensor in weights.items()}


def unreadable_reason(error: Exception) -> str:
    """Why a file of weights cannot be read, in one line, without torch's advice to run whatever code is in it."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is damaged, or holds more than tensors"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _present_name(name: str) -> str:
    for pattern, present in _RENAMED:
        if re.match(pattern, name):
            return re.sub(pattern, present, name, count=1)
    return name
