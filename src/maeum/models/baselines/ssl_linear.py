"""SSL-Linear: the layers of a pretrained speech encoder, mixed by learned weights, pooled over time, and a small head.

The strong baseline of speech emotion recognition (Yang et al., SUPERB, Interspeech 2021; Pepino et al., Interspeech
2021). Layers are mixed by a softmax over learned weights; steps by attentive statistics (Okabe et al., Interspeech
2018), or their mean, which is SUPERB's form together with ``hidden: null``.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ModelError
from maeum.models.encoders.hub import check_source
from maeum.models.encoders.whisper import WhisperEncoder
from maeum.models.network import InputNeeds, Network
from maeum.models.registry import MODELS, ModelKind
from maeum.types import Batch, ModelOutput
from maeum.wording import counted

#: The encoder where a recipe names none.
_USUAL = "whisper-base"
#: Keeps the gradient of a deviation of 0 finite.
_LEAST_VARIANCE = 1e-5


class SslLinearConfig(Config):
    """Settings of SSL-Linear."""

    labels: int = Field(ge=1)
    """How many labels or scales it answers with; filled in from the corpus."""
    pretrained: str | None = None
    """The speech encoder: a Whisper by the name of fetched weights (``maeum fetch``), a folder, or a name on the hub.
    null is ``whisper-base``."""
    architecture: dict[str, Any] | None = None
    """The encoder's configuration as plain data, with ``model_type``, instead of ``pretrained``: an encoder without
    weights, which is how a trained model is built again without network."""
    depth: int | None = Field(default=None, ge=1)
    """So many of its layers, from below; null takes all. Emotion is heard in the lower ones, and fewer are quicker."""
    trained_layers: int = Field(default=0, ge=0)
    """So many of these layers, from above, learn too; the others and the convolutions are frozen."""
    pooling: Literal["attentive", "mean"] = "attentive"
    """How steps become one vector: means and deviations weighted by a learned attention, or the mean."""
    hidden: int | None = Field(default=128, ge=1)
    """Width of the head's hidden layer; null has a linear head."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout before the head's layers while training."""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.pretrained is not None or self.architecture is not None:
            check_source(self.pretrained, self.architecture, "speech encoder", such_as="whisper")
        return self


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time, each step weighted by a learned attention (Okabe et al. 2018).

    ``(batch, steps, dim)``, mask ``(batch, steps)`` ``-> (batch, 2 dim)``; zeros without a valid step.
    """

    def __init__(self, dim: int, width: int = 64) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        scores = self.score(sequence)[..., 0].masked_fill(~mask, -1e4)
        weights = (scores.softmax(1) * mask).unsqueeze(2)  # (batch, steps, 1)
        mean = (weights * sequence).sum(1)
        variance = (weights * (sequence - mean.unsqueeze(1)).square()).sum(1)
        deviation = (variance + _LEAST_VARIANCE).sqrt() * mask.any(1, keepdim=True)
        return torch.cat((mean, deviation), 1)


class SslLinear(Network):
    """A pretrained speech encoder with a small head; see the module.

    Raises:
        ModelError: when the encoder cannot be had, or a batch has no speech.
    """

    modalities = ("speech",)
    input_needs = InputNeeds(sound="wave")

    def __init__(self, config: SslLinearConfig) -> None:
        super().__init__()
        pretrained = config.pretrained if config.architecture is not None else config.pretrained or _USUAL
        self.encoder = WhisperEncoder(pretrained, config.architecture, config.depth)
        self.config = config.model_copy(update={"pretrained": None, "architecture": self.encoder.settings})
        layers = self.encoder.layers
        self.encoder.requires_grad_(False)
        for layer in list(self.encoder.model.layers)[max(0, layers - config.trained_layers) :]:
            layer.requires_grad_(True)
        self.mix = nn.Parameter(torch.zeros(layers + 1))
        dim = self.encoder.dim
        self.pool = AttentiveStatistics(dim) if config.pooling == "attentive" else None
        width = 2 * dim if self.pool is not None else dim
        hidden = [nn.Linear(width, config.hidden), nn.GELU(), nn.Dropout(config.dropout)] if config.hidden else []
        self.head = nn.Sequential(nn.Dropout(config.dropout), *hidden, nn.Linear(config.hidden or width, config.labels))

    def forward(self, batch: Batch) -> ModelOutput:
        """Logits of a batch; see `ModelOutput` for shapes."""
        if batch.wave is None or batch.wave_mask is None or not bool(batch.wave_mask.any()):
            raise ModelError(
                f"a batch of {counted(len(batch), 'clip')} has no sound at 16 kHz",
                remedy="Prepare the corpus with --wave.",
            )
        present = batch.wave_mask.any(1)
        lengths = batch.wave_mask.sum(1)
        states, mask = self.encoder.hidden_states(batch.wave, lengths)
        weights = self.mix.softmax(0)
        # Norms of layers differ by a factor of a hundred; without the norm the last ones would drown the others.
        mixed = torch.stack([w * F.layer_norm(s, s.shape[-1:]) for w, s in zip(weights, states, strict=True)]).sum(0)
        mixed = mixed * mask.unsqueeze(2)
        if self.pool is not None:
            features = self.pool(mixed, mask)
        else:
            features = mixed.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        logits = self.head(features) * present.unsqueeze(1)
        return ModelOutput(logits, {}, {"speech": present}, {"speech": features})

    def stored_settings(self) -> SslLinearConfig:
        """See `Network`."""
        return self.config


MODELS.register("ssl-linear")(ModelKind(SslLinearConfig, SslLinear, "SSL-Linear: a pretrained speech encoder, a head"))
