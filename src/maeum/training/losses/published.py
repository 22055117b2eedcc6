"""Contrastive losses as the published code of MMER computes them, defects included: to compare numbers only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.training.losses.contrast import products


def published_supervised_contrastive(features: Tensor, target: Tensor, temperature: float = 0.07) -> Tensor:
    """The supervised contrast with three defects, see `supervised_contrastive` for the arguments.

    The log-softmax is taken before the temperature divides it, features keep their length and items count as their own
    positives, so that long vectors alone bring it down to 0.
    """
    positive = target.unsqueeze(1) == target
    return -(products(features, features).log_softmax(1) / temperature)[positive].mean()


def published_augmented_contrastive(features: Tensor, views: Tensor, temperature: float = 0.07) -> Tensor:
    """The augmented contrast in one direction, of vectors as long as they are; see `augmented_contrastive`."""
    similarity = products(features, views) / temperature
    return F.cross_entropy(similarity, torch.arange(len(similarity), device=similarity.device))
