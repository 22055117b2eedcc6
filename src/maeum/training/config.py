"""Settings of a training."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from maeum.config import MOST_SEED, Config
from maeum.errors import ConfigError, RenamedSettingWarning
from maeum.training.losses import LOSSES
from maeum.training.losses.base import Loss

#: Settings of losses that stood beside each other until now, old name -> (loss, its setting).
_MOVED: dict[str, tuple[tuple[str, str], ...]] = {
    "ctc": (("ctc", "weight"),),
    "supervised_contrastive": (("supervised-contrastive", "weight"),),
    "augmented_contrastive": (("augmented-contrastive", "weight"),),
    "distill": (("distillation", "weight"),),
    "distill_temperature": (("distillation", "temperature"),),
    "distill_encoded": (("encoding-distillation", "weight"),),
    "temperature": (("supervised-contrastive", "temperature"), ("augmented-contrastive", "temperature")),
    "memory": (("supervised-contrastive", "memory"),),
    "contrast": (("supervised-contrastive", "form"), ("augmented-contrastive", "form")),
}
#: Settings of the loss between logits and labels that may stand beside ``loss``.
_SHORT = ("class_weights", "label_smoothing", "modality_weight")


class TrainConfig(Config):
    """How a network is trained."""

    epochs: int = Field(default=40, ge=1, le=1_000_000)
    """Passes over the training items at most; ``patience`` may end the training earlier."""
    batch_size: int = Field(default=8, ge=1, le=65_536)
    """Items in a batch, over all processes and parts."""
    accumulate: int = Field(default=1, ge=1, le=65_536)
    """In how many parts a batch goes through the network, one after the other, with the gradient of the whole: for
    batches that do not fit into memory."""
    recompute: bool = False
    """Whether hub encoders compute activations again on the way back: less memory, more time."""
    lr: float | None = Field(default=None, gt=0, le=100)
    """Learning rate, the highest one of the schedule. null is 3e-4; or 3e-5 where an encoder of the hub is trained,
    whose weights a higher one would spoil."""
    lr_scale: dict[str, Annotated[float, Field(ge=0, le=1000)]] = Field(default_factory=dict)
    """Factors of the learning rate for parameters whose name starts with the key (the longest such key counts), such
    as ``{encoders.text: 0.1, heads.text: 0.1}`` (Dai et al. 2021); 0 freezes them."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """``adamw`` decays weights apart from the gradient."""
    weight_decay: float = Field(default=0.0, ge=0, le=1000)
    """Decay of matrices towards 0; vectors (biases, norms) are not decayed."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate goes on after the warm-up: as it is, or down to zero along a cosine."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Fraction of all steps in which the learning rate rises from 0."""
    clip_norm: float | None = Field(default=1.0, gt=0, le=1e9)
    """Longest gradient, in the Euclidean norm over all parameters; longer ones are shortened to it. null clips none."""
    loss: str | None = None
    """The loss between logits and labels: ``cross-entropy`` or ``bce`` for one label an item, ``bce`` for several,
    ``ccc`` or ``squared-error`` for values on scales. null takes the first of these that fits the labels."""
    class_weights: bool | None = None
    """Short for the setting ``class_weights`` of ``loss``: whether rare classes weigh more. null leaves its default."""
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    """Short for the setting ``label_smoothing`` of ``loss``, which cross-entropy has."""
    modality_weight: float | None = Field(default=None, ge=0, le=1000)
    """Short for the setting ``modality_weight`` of ``loss``: its weight on each modality's own logits."""
    losses: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Further losses, and settings of ``loss``: name -> settings, such as ``{ctc: {weight: 0.1}}``."""
    patience: int | None = Field(default=6, ge=1, le=1_000_000)
    """Stop after so many epochs without a better score on dev; null trains all epochs."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay per step of the averaged weights that are scored and kept; 0 keeps the weights themselves."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Seed of the first weights, of the order of items, and of everything that is drawn."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of the computation. ``auto`` is bf16 where the processor multiplies it natively, else fp32."""
    face_sizes: tuple[tuple[Annotated[float, Field(ge=0, le=1)], Annotated[int, Field(ge=8, le=1024)]], ...] = ()
    """(fraction of the training, height in px) pairs: faces are shrunk to that height from that point on, for cheap
    early epochs."""
    checkpoint_every_s: float = Field(default=120.0, ge=0, le=1e9)
    """Seconds between checkpoints within an epoch; there is one at the end of every epoch, too."""

    @model_validator(mode="before")
    @classmethod
    def _former(cls, data: Any) -> Any:
        """Settings of losses by their present names."""
        return _without_former_names(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"a batch of {self.batch_size} has no {self.accumulate} parts: set accumulate to {self.batch_size} "
                "or less"
            )
        try:
            for name, settings in self.losses.items():
                LOSSES[name].Config.parse(settings, item=f"losses.{name}")
            if self.loss is not None:
                _ = self.loss_settings(self.loss)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def loss_settings(self, emotion_loss: str) -> dict[str, dict[str, Any]]:
        """Settings of all losses by name, where ``emotion_loss`` compares logits with labels.

        Raises:
            ConfigError: when a setting stands beside ``loss`` that this loss does not have.
        """
        short = {name: value for name in _SHORT if (value := getattr(self, name)) is not None}
        own = {**short, **self.losses.get(emotion_loss, {})}
        LOSSES[emotion_loss].Config.parse(own, item=f"loss {emotion_loss}")
        return {**self.losses, emotion_loss: own}

    def further_losses(self) -> dict[str, type[Loss[Any]]]:
        """The losses in ``losses`` that have a weight, by name."""
        return {name: LOSSES[name] for name, settings in self.losses.items() if settings.get("weight", 1.0) > 0}

    @property
    def needs_views(self) -> bool:
        """Whether a loss compares items with their augmented views."""
        return any(loss.needs_views for loss in self.further_losses().values())

    @property
    def needs_teacher(self) -> bool:
        """Whether a loss compares the network with a teacher."""
        return any(loss.needs_teacher for loss in self.further_losses().values())

    @property
    def needs_transcripts(self) -> bool:
        """Whether a loss reads transcripts as characters, which trains a CTC head."""
        return any(loss.needs_transcripts for loss in self.further_losses().values())


def _without_former_names(data: dict[str, Any]) -> dict[str, Any]:
    data = dict(data)
    former = {name: data.pop(name) for name in _MOVED if name in data}
    if not former:
        return data
    losses = {name: dict(settings) for name, settings in (data.get("losses") or {}).items()}
    for name, value in former.items():
        for loss, setting in _MOVED[name]:
            losses.setdefault(loss, {}).setdefault(setting, value)
    touched = {loss for name in former for loss, _ in _MOVED[name]}
    data["losses"] = {  # a loss without a weight was not computed, whatever its temperature
        name: settings for name, settings in losses.items() if name not in touched or settings.get("weight")
    }
    warnings.warn(
        f"settings of losses are now in training.losses: {data['losses']} stands for {former}",
        RenamedSettingWarning,
        stacklevel=2,
    )
    return data
