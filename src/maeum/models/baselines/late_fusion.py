"""LF-LSTM and LF-Transformer: a sequence model for each modality over fixed features, answers added up.

The late-fusion baselines of Dai et al. 2021. They read what `maeum.models.baselines.twophase` describes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.models import fusion
from maeum.models.baselines.twophase import FeatureReader, TwoPhaseConfig
from maeum.models.branches import TransformerConfig
from maeum.models.layers import SequenceEncoder, check_width
from maeum.models.network import Network
from maeum.models.registry import MODELS, ModelKind
from maeum.types import Batch, Modality, ModelOutput


class LateFusionLSTMConfig(TwoPhaseConfig):
    """Settings of LF-LSTM; the paper gives none, these put it near FE2E's d of 64."""

    dim: int = Field(default=64, ge=1, le=16_384)
    """Width that features are projected to."""
    hidden: int = Field(default=64, ge=1, le=16_384)
    """Hidden size of each direction of the LSTM."""
    layers: int = Field(default=1, ge=1, le=256)
    """Layers of the LSTM."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the projected steps, between layers and before the heads while training."""


class LateFusionTransformerConfig(TwoPhaseConfig):
    """Settings of LF-Transformer; sizes are those of FE2E's transformers."""

    dim: int = Field(default=64, ge=1, le=16_384)
    """Width that features are projected to."""
    transformer: TransformerConfig = TransformerConfig()
    """The transformer over the steps of each modality."""

    @model_validator(mode="after")
    def _width_fits(self) -> Self:
        check_width(self.dim, self.transformer.heads, positions=self.transformer.positions)
        return self


class MaskedLSTM(nn.Module):
    """A bidirectional LSTM over sequences without their padding; both directions' last states are the summary.

    Args:
        width: of a step.
        dim: that steps are projected to.
        hidden: size of each direction.
        layers: how many.
        dropout: of projected steps, between layers, and of the summary.
    """

    def __init__(self, width: int, dim: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(width, dim)
        self.recurrent = nn.LSTM(
            dim, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """``(batch, length, width)``, mask ``(batch, length)``, valid steps first -> ``(batch, 2 hidden)``."""
        lengths = mask.sum(1).clamp(min=1).cpu()
        steps = self.dropout(torch.relu(self.project(sequence)))
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        _, (last, _) = self.recurrent(packed)  # (2 layers, batch, hidden)
        summary: Tensor = self.dropout(torch.cat((last[-2], last[-1]), 1))
        return summary


class ProjectedTransformer(nn.Module):
    """FE2E's transformer over projected features. ``(batch, length, width)``, mask ``-> (batch, dim)``."""

    def __init__(self, width: int, dim: int, config: TransformerConfig) -> None:
        super().__init__()
        self.project = nn.Linear(width, dim)
        self.sequence = SequenceEncoder(
            dim, config.layers, config.heads, config.feedforward, config.dropout, config.positions
        )

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Summary of each sequence."""
        summary: Tensor = self.sequence(self.project(sequence), mask)
        return summary


class LateFusion(Network):
    """Each modality through its own sequence model to its own logits; the answer is their weighted sum, as in FE2E.

    A clip may lack any modality, then the sum runs over those it has; a clip without any gets zeros.

    Raises:
        ModelError: when a batch has none of the modalities that the network reads.
    """

    def __init__(self, config: TwoPhaseConfig) -> None:
        super().__init__()
        self.config = config
        self.reader = FeatureReader(config)
        self.modalities = self.reader.modalities
        self.input_needs = self.reader.needs
        self.sequences = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        for modality in self.modalities:
            self.sequences[modality], dim = self.build_sequence(self.reader.widths[modality])
            self.heads[modality] = nn.Linear(dim, config.labels)
        self.fusion = nn.Linear(len(self.modalities), 1, bias=False)
        nn.init.ones_(self.fusion.weight)

    @abstractmethod
    def build_sequence(self, width: int) -> tuple[nn.Module, int]:
        """The model of a sequence of so many values a step, and the width of its summary."""

    def forward(self, batch: Batch) -> ModelOutput:
        """Logits of a batch; see `ModelOutput` for shapes."""
        features: dict[str, Tensor] = {}
        logits: dict[Modality, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        for modality, (sequence, mask) in self.reader(batch).items():
            features[modality] = self.sequences[modality](sequence, mask)
            logits[modality] = self.heads[modality](features[modality])
            present[modality] = mask.any(1)
        contributions = fusion.weigh(self.fusion.weight[0], self.modalities, logits)
        shares = fusion.shares(contributions, present, scales=self.answers_scales)
        fused = fusion.add_up(contributions, present)
        return ModelOutput(fused, logits, present, features, contributions=contributions, shares=shares)

    def stored_settings(self) -> TwoPhaseConfig:
        """See `Network`."""
        return self.config


class LateFusionLSTM(LateFusion):
    """LF-LSTM."""

    config: LateFusionLSTMConfig

    def build_sequence(self, width: int) -> tuple[nn.Module, int]:
        """A bidirectional LSTM."""
        c = self.config
        return MaskedLSTM(width, c.dim, c.hidden, c.layers, c.dropout), 2 * c.hidden


class LateFusionTransformer(LateFusion):
    """LF-Transformer."""

    config: LateFusionTransformerConfig

    def build_sequence(self, width: int) -> tuple[nn.Module, int]:
        """A transformer with a CLS."""
        return ProjectedTransformer(width, self.config.dim, self.config.transformer), self.config.dim


MODELS.register("lf-lstm")(
    ModelKind(LateFusionLSTMConfig, LateFusionLSTM, "LF-LSTM: an LSTM a modality over fixed features, late fusion")
)
MODELS.register("lf-transformer")(
    ModelKind(
        LateFusionTransformerConfig,
        LateFusionTransformer,
        "LF-Transformer: a transformer a modality over fixed features, late fusion",
    )
)
