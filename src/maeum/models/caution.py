"""Less sure answers about what is unlike that which a branch was trained on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.config import Config
from maeum.errors import ModelError

#: Keeps the weights of a fit small, so that it finds what holds beyond its own items.
_DECAY = 1e-2
#: How quickly the divisor grows with the score.
_SLOPE = 2.0


class Caution(Config):
    """A divisor of a branch's logits, from 1 for what is like its training data to ``most`` for what is unlike it."""

    weights: tuple[float, ...] = Field(min_length=1)
    """Of each value of the branch's vector."""
    bias: float
    """Added to their sum; below 0 an item is rather like the training data."""
    most: float = Field(ge=1, le=20)
    """The largest divisor."""
    data: str = ""
    """What it was fitted on."""

    def divisor(self, vectors: Tensor) -> Tensor:
        """``(batch, width) -> (batch, 1)``, 1 to ``most``; raises ModelError where vectors have another width."""
        if vectors.shape[1] != len(self.weights):
            raise ModelError(f"caution has {len(self.weights)} weights for vectors of {vectors.shape[1]} values")
        score = vectors.float() @ vectors.new_tensor(self.weights, dtype=torch.float32) + self.bias
        return (self.most ** torch.sigmoid(score)).unsqueeze(1)


def fit_caution(like: Tensor, unlike: Tensor, dev: Tensor, *, most: float, share: float, data: str = "") -> Caution:
    """A logistic regression that tells what a branch was trained on from other data; no labels are read.

    Args:
        like: vectors of training items, ``(n, width)``.
        unlike: of items of other kinds, ``(n, width)``.
        dev: of items like the training data that it was not trained on.
        most: the largest divisor.
        share: of the dev items that are taken for unlike; those at the bound get the root of ``most``.
        data: what these are.
    """
    rows = torch.cat((like, unlike)).float()
    mean, deviation = rows.mean(0), rows.std(0).clamp(min=1e-6)
    rows = (rows - mean) / deviation
    target = torch.cat((torch.zeros(len(like)), torch.ones(len(unlike))))
    weights, bias = torch.zeros(rows.shape[1], requires_grad=True), torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def cost() -> Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(rows @ weights + bias, target) + _DECAY * weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(cost)  # type: ignore[no-untyped-call]
    fitted = _SLOPE * weights.detach() / deviation
    bound = (dev.float() @ fitted).quantile(1 - share)
    return Caution(weights=tuple(round(w, 5) for w in fitted.tolist()), bias=-float(bound), most=most, data=data)
