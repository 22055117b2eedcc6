"""A loss: a penalty on answers that are too sure."""

from __future__ import annotations

from pydantic import Field

from maeum.training.losses.base import BatchOutputs, Loss, LossConfig, LossValue
from maeum.types import Batch


class ConfidencePenaltyConfig(LossConfig):
    """Settings of the confidence penalty."""

    tolerated: float = Field(default=0.0, ge=0)
    """Lack of entropy, in nats below that of an even guess, that costs nothing."""


class ConfidencePenalty(Loss[ConfidencePenaltyConfig]):
    """How far the entropy of the answers is below that of an even guess (Pereyra et al. 2017)."""

    Config = ConfidencePenaltyConfig
    tasks = ("single-label",)

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """The mean over the batch, and a line ``loss_confidence`` for the log."""
        log_probs = outputs.output.logits.log_softmax(1)
        below = (log_probs.exp() * log_probs).sum(1) - log_probs.new_tensor(1 / log_probs.shape[1]).log()
        value = (below - self.config.tolerated).clamp(min=0).mean()
        return LossValue(value, {"confidence": float(value.detach())})
