"""Settings of a training."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from maeum.config import Config
from maeum.training.losses.emotion import LossName


class TrainConfig(Config):
    """How a model is trained.

    lr_scale: factors of the learning rate for parameters whose name starts with the key (the longest such key
    counts), such as ``{"encoders.text": 0.1, "heads.text": 0.1}`` (Dai et al. 2021); 0 freezes them.
    accumulate: in how many parts a batch goes through the network, one after the other, with the gradient of the whole:
    for batches that do not fit into memory. parallel: in how many parts it goes through side by side, each with its
    share of a processor's cores, and gradients of its own in memory; of no effect on GPUs. recompute: hub encoders keep
    no activations for the way back, but compute them again.
    loss: ``bce`` or ``cross-entropy``; ``ccc`` or ``squared-error`` for dimensional targets, which have no
    class_weights. The concordance of ``ccc`` is over a batch, so batches of 32 and more say more about it.
    distill: weight of what a teacher says, see `losses.distillation_loss`; its temperature.
    distill_encoded: weight of what a teacher makes of each frame and mel chunk, see `losses.encoding_loss`.
    ctc, supervised_contrastive, augmented_contrastive: weights of MMER's further tasks (Ghosh et al. 2023: 0.1 each):
    to spell what is said, see `losses.ctc_loss`; to bring utterances of one class together, and an utterance and
    its augmented view, see `contrastive`. temperature: of both contrasts. memory: so many earlier utterances are
    contrasted with as well. contrast: ``published`` computes both as the published code does, to compare numbers only.
    schedule: ``constant``, or ``cosine`` to zero after ``warmup`` of all steps.
    patience: stop after so many epochs without a better dev score; None trains all epochs.
    ema: decay per step of the averaged weights that are evaluated and kept; 0 keeps the weights themselves.
    precision: ``auto`` uses bf16 where the processor multiplies it natively, else fp32.
    face_sizes: (fraction of training, height) pairs: faces are shrunk to that height from that point on (cheap
    early epochs).
    """

    epochs: int = Field(default=40, ge=1)
    batch_size: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)
    parallel: int = Field(default=1, ge=1)
    recompute: bool = False
    lr: float = Field(default=5e-5, gt=0)
    lr_scale: dict[str, float] = Field(default_factory=dict)
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    clip_norm: float | None = 1.0
    loss: LossName = "bce"
    class_weights: bool = True
    label_smoothing: float = 0.0
    modality_weight: float = 0.0
    distill: float = Field(default=0.0, ge=0)
    distill_temperature: float = Field(default=2.0, gt=0)
    distill_encoded: float = Field(default=0.0, ge=0)
    ctc: float = Field(default=0.0, ge=0)
    supervised_contrastive: float = Field(default=0.0, ge=0)
    augmented_contrastive: float = Field(default=0.0, ge=0)
    temperature: float = Field(default=0.07, gt=0)
    memory: int = Field(default=0, ge=0)
    contrast: Literal["standard", "published"] = "standard"
    patience: int | None = Field(default=6, ge=1)
    ema: float = Field(default=0.0, ge=0, lt=1)
    seed: int = 0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    face_sizes: tuple[tuple[float, int], ...] = ()
    checkpoint_every_s: float = 120.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.recompute and self.parallel > 1:
            raise ValueError("recompute cannot be combined with parallel: set parallel to 1, or accumulate instead")
        if self.parallel > self.batch_size:
            raise ValueError(
                f"a batch of {self.batch_size} has no {self.parallel} parts: set parallel to {self.batch_size} or less"
            )
        return self
