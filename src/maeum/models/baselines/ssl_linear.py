"""SSL-Linear: the layers of a pretrained speech encoder, mixed by learned weights, pooled over time, and a small head.

The strong baseline of speech emotion recognition (Yang et al., SUPERB, Interspeech 2021; Pepino et al., Interspeech
2021). SUPERB's own form is ``pooling: mean`` with ``hidden: null``.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from maeum.errors import ModelError
from maeum.models.encoders.pretrained_speech import (
    PretrainedSpeech,
    PretrainedSpeechConfig,
    head_input,
    read_present,
)
from maeum.models.network import HasFrozenEncoders, InputNeeds, Network
from maeum.models.registry import MODELS, ModelKind
from maeum.types import Batch, ModelOutput
from maeum.wording import counted


class SslLinearConfig(PretrainedSpeechConfig):
    """Settings of SSL-Linear."""

    labels: int = Field(ge=1, le=16_384)
    """How many labels or scales it answers with; filled in from the corpus."""
    hidden: int | None = Field(default=128, ge=1, le=16_384)
    """Width of the head's hidden layer; null has a linear head."""


class SslLinear(Network, HasFrozenEncoders):
    """A pretrained speech encoder with a small head; see the module.

    Raises:
        ModelError: when the encoder cannot be had, or a batch has no speech.
    """

    modalities = ("speech",)
    input_needs = InputNeeds(sound="wave")

    def __init__(self, config: SslLinearConfig) -> None:
        super().__init__()
        self.speech = PretrainedSpeech(config)
        self.config = config.model_copy(update={**self.speech.config.model_dump(include={"architecture"}),
                                                "pretrained": None, "depth": None})  # fmt: skip
        width = self.speech.width
        hidden = [nn.Linear(width, config.hidden), nn.GELU(), nn.Dropout(config.dropout)] if config.hidden else []
        self.head = nn.Sequential(*head_input(config, width), *hidden, nn.Linear(config.hidden or width, config.labels))

    def forward(self, batch: Batch) -> ModelOutput:
        """Logits of a batch; see `ModelOutput` for shapes."""
        found = self.speech(batch)
        if found is None:
            raise ModelError(
                f"a batch of {counted(len(batch), 'clip')} has no sound at 16 kHz",
                remedy="Prepare the corpus without --no-wave.",
            )
        features, present = found
        logits = read_present(self.head, features, present)
        return ModelOutput(logits, {}, {"speech": present}, {"speech": features})

    def frozen_speech_encoder(self) -> PretrainedSpeech | None:
        """See `HasFrozenEncoders`."""
        return None if self.speech.kept_states is None else self.speech

    def stored_settings(self) -> SslLinearConfig:
        """See `Network`."""
        return self.config


MODELS.register("ssl-linear")(ModelKind(SslLinearConfig, SslLinear, "SSL-Linear: a pretrained speech encoder, a head"))
