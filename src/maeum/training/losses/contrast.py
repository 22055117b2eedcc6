"""What the contrastive losses share: similarities of an utterance's projection to others'."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.errors import ConfigError
from maeum.models.network import PROJECTION
from maeum.training.losses.base import LossConfig, LossSetup
from maeum.types import ModelOutput


class ContrastConfig(LossConfig):
    """Settings of both contrastive losses."""

    temperature: float = Field(default=0.07, ge=0.001, le=1000)
    """Divides the similarities inside the softmax."""
    form: Literal["standard", "published"] = "standard"
    """``published`` computes it as the published code of MMER does, to compare numbers only."""


def check_contrast(setup: LossSetup, name: str) -> None:
    """Raise ConfigError when the network has no projection, or items are blended whose classes are told apart."""
    if PROJECTION not in setup.network.auxiliary_names:
        raise ConfigError(f"the loss {name!r} has a weight, but this network has no projection to contrast",
                          remedy=f"Use model: mmer with project above 0, or leave {name} out.")  # fmt: skip
    if setup.blends_items:
        raise ConfigError(f"the loss {name!r} tells apart items that augment.mixup blends",
                          remedy="Set augment.mixup to 0, or leave the loss out.")  # fmt: skip


def projection_of(output: ModelOutput, name: str = PROJECTION) -> Tensor:
    """What is contrasted of each utterance, ``(n, d)``; raises ConfigError when the network has none."""
    if name not in output.auxiliary:
        raise ConfigError("the network has no projection to contrast",
                          remedy="Use model: mmer with project above 0, or leave the loss out.")  # fmt: skip
    return output.auxiliary[name]


def unit_vectors(features: Tensor) -> Tensor:
    """Features at length 1, in float32."""
    return F.normalize(features.float(), dim=1)


def products(one: Tensor, other: Tensor) -> Tensor:
    """All products of rows, in float32 also where networks compute in bf16, whose steps a temperature makes large."""
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float().T
