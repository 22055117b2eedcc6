"""Contrastive losses of MMER, and the memory that gives small batches something to contrast with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.errors import ModelError


@dataclass(frozen=True)
class Contrast:
    """loss: the mean over the anchors that have a positive, 0 without any. anchors: how many have one. alone: how many
    have none and were skipped.
    """

    loss: Tensor
    anchors: int
    alone: int


def supervised_contrastive(
    features: Tensor,
    target: Tensor,
    temperature: float = 0.07,
    others: Tensor | None = None,
    others_target: Tensor | None = None,
) -> Contrast:
    """Items of one class near each other, others apart: L_out of Khosla et al., NeurIPS 2020, equation 2.

    Features are brought to length 1, the temperature divides their similarity inside the softmax, an item is never its
    own positive, and anchors without a positive are skipped.

    Args:
        features: ``(n, d)``.
        target: classes, ``(n,)`` int64.
        temperature: of the softmax.
        others: further items to compare with, such as a `Memory`'s, ``(m, d)``; they are no anchors.
        others_target: their classes, ``(m,)``.
    """
    anchors = _directions(features)
    pool, classes = anchors, target
    if others is not None and others_target is not None:
        pool = torch.cat((anchors, _directions(others)))
        classes = torch.cat((target, others_target))
    itself = torch.eye(len(anchors), len(pool), dtype=torch.bool, device=pool.device)
    likeness = (_products(anchors, pool) / temperature).masked_fill(itself, -torch.inf)
    positive = (target.unsqueeze(1) == classes) & ~itself
    count = positive.sum(1)
    has = count > 0
    if not bool(has.any()):
        return Contrast(features.sum() * 0.0, 0, len(target))
    said = likeness[has].log_softmax(1).masked_fill(~positive[has], 0.0).sum(1) / count[has]
    anchored = int(has.sum())
    return Contrast(-said.mean(), anchored, len(target) - anchored)


def augmented_contrastive(features: Tensor, views: Tensor, temperature: float = 0.07) -> Tensor:
    """An utterance nearer to its own augmented view than to those of others, and the other way round: symmetric
    InfoNCE.

    NT-Xent between two views (Chen et al., ICML 2020), as Ghosh et al. 2023 use it between an utterance and the same
    said in other words by another voice.

    Args:
        features: of utterances, ``(n, d)``. One is nothing to tell apart: 0.
        views: of their augmented views, in the same order, ``(n, d)``.
        temperature: of the softmax.
    """
    likeness = _products(_directions(features), _directions(views)) / temperature
    own = torch.arange(len(likeness), device=likeness.device)
    return (F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2


def published_supervised_contrastive(features: Tensor, target: Tensor, temperature: float = 0.07) -> Tensor:
    """What the published code computes, to compare numbers only.

    The log-softmax is taken before the temperature divides it, features keep their length and items count as their own
    positives, so that long vectors alone bring it down to 0.
    """
    positive = target.unsqueeze(1) == target
    return -(_products(features, features).log_softmax(1) / temperature)[positive].mean()


def published_augmented_contrastive(features: Tensor, views: Tensor, temperature: float = 0.07) -> Tensor:
    """What the published code computes, to compare numbers only: one direction, of vectors as long as they are."""
    likeness = _products(features, views) / temperature
    return F.cross_entropy(likeness, torch.arange(len(likeness), device=likeness.device))


def _directions(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=1)


def _products(one: Tensor, other: Tensor) -> Tensor:
    """All products of rows, in float32 also where networks compute in bf16, whose steps a temperature makes large."""
    with torch.autocast(one.device.type, enabled=False):
        return one.float() @ other.float().T


class Memory:
    """The latest items that were seen, to contrast with: cross-batch memory (Wang et al., CVPR 2020).

    Args:
        size: items at most.

    Raises:
        ModelError: from `load_state_dict`, when another size was kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.features: Tensor | None = None  # (n, d), newest last
        self.target: Tensor | None = None

    def push(self, features: Tensor, target: Tensor) -> None:
        """Keep these, and forget the oldest."""
        features, target = features.detach().float(), target.detach()
        if self.features is not None and self.target is not None:
            features, target = torch.cat((self.features, features)), torch.cat((self.target, target))
        self.features, self.target = features[-self.size :], target[-self.size :]

    def state_dict(self) -> dict[str, Tensor | int | None]:
        """What a checkpoint keeps of it."""
        return {"size": self.size, "features": self.features, "target": self.target}

    def load_state_dict(self, state: dict[str, Tensor | int | None]) -> None:
        """Go on with what `state_dict` gave."""
        if state["size"] != self.size:
            raise ModelError(f"the memory held {state['size']} items, now {self.size}")
        self.features, self.target = state["features"], state["target"]  # type: ignore[assignment]
