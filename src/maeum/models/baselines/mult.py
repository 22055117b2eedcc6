"""MulT: each modality's sequence attends to the others', then to itself.

Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov, "Multimodal Transformer for Unaligned Multimodal Language Sequences",
ACL 2019, section 3. It reads what `maeum.models.baselines.twophase` describes.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.config import Config
from maeum.models import fusion
from maeum.models.baselines.twophase import FeatureReader, TwoPhaseConfig
from maeum.models.layers import PositionalEncoding, check_width
from maeum.models.network import Network
from maeum.models.registry import MODELS, ModelKind
from maeum.types import Batch, Modality, ModelOutput


class KernelConfig(Config):
    """Steps that the temporal convolution of each modality spans."""

    faces: int = Field(default=3, ge=1, le=64)
    """Faces."""
    speech: int = Field(default=5, ge=1, le=64)
    """Steps of speech features."""
    text: int = Field(default=3, ge=1, le=64)
    """Tokens."""


class MulTConfig(TwoPhaseConfig):
    """Settings of MulT; defaults are those for IEMOCAP (Tsai et al. 2019, table 5)."""

    dim: int = Field(default=40, ge=1, le=16_384)
    """Width of every stream."""
    blocks: int = Field(default=4, ge=1, le=256)
    """Blocks of each crossmodal transformer, and of each that attends to itself."""
    heads: int = Field(default=10, ge=1, le=256)
    """Attention heads; they divide ``dim``."""
    kernels: KernelConfig = KernelConfig()
    """The temporal convolutions that project features."""
    dropout: float = Field(default=0.25, ge=0, lt=1)
    """Dropout inside the blocks while training."""
    output_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout before the answer while training."""

    @model_validator(mode="after")
    def _width_fits(self) -> Self:
        check_width(self.dim, self.heads, positions=True)
        return self


class AttentionBlock(nn.Module):
    """Attention to another sequence, or to itself, then a feed-forward layer; pre-norm, with residuals."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_target = nn.LayerNorm(dim)
        self.norm_source = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * dim, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, target: Tensor, source: Tensor | None, source_mask: Tensor | None) -> Tensor:
        """The target after attention to the source; without a source only the feed-forward layer acts.

        Args:
            target: ``(batch, n, dim)``.
            source: ``(batch, m, dim)``.
            source_mask: its valid steps, ``(batch, m)`` bool.

        Returns:
            ``(batch, n, dim)``.
        """
        if source is not None and source_mask is not None:
            present = source_mask.any(1)
            readable = source_mask.clone()
            readable[:, 0] |= ~present  # attention over nothing is undefined
            keys = self.norm_source(source)
            attended, _ = self.attention(
                self.norm_target(target), keys, keys, key_padding_mask=~readable, need_weights=False
            )
            target = target + self.dropout(attended) * present.view(-1, 1, 1)
        changed: Tensor = target + self.dropout(self.feedforward(target))
        return changed


class CrossmodalTransformer(nn.Module):
    """Blocks of attention to the low-level features of one source (section 3.2, equation 4)."""

    def __init__(self, dim: int, heads: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AttentionBlock(dim, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim)

    def forward(self, target: Tensor, source: Tensor | None, source_mask: Tensor | None) -> Tensor:
        """See `AttentionBlock`."""
        for block in self.blocks:
            target = block(target, source, source_mask)
        normed: Tensor = self.norm(target)
        return normed


class SelfAttentionTransformer(nn.Module):
    """Blocks of self-attention; the last valid step's output is the summary."""

    def __init__(self, dim: int, heads: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout, batch_first=True, norm_first=True)
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """``(batch, length, dim)``, mask ``(batch, length)`` -> ``(batch, dim)``, zero without a valid step."""
        present = mask.any(1)
        readable = mask.clone()
        readable[:, 0] |= ~present
        for block in self.blocks:
            sequence = block(sequence, src_key_padding_mask=~readable)
        last = (torch.arange(mask.shape[1], device=mask.device) * mask).amax(1)
        summary: Tensor = self.norm(sequence[torch.arange(len(mask), device=mask.device), last])
        return summary * present.unsqueeze(1)


class MulT(Network):
    """MulT (Tsai et al., ACL 2019, section 3).

    Each modality has a stream: crossmodal transformers attend from it to every other modality, their outputs are
    concatenated, and a self-attention transformer summarises them. The logits are made from all summaries.

    A modality that a clip lacks is not attended to, and its stream adds zeros. With one modality alone, only its
    self-attention is left. ``modality_logits`` are the answers to each modality alone, as if the others were missing;
    shares are measured by them.

    Inputs: a `Batch` with any of ``faces``, ``mel_chunks`` and ``tokens``.
    Outputs: logits ``(batch, labels)``; ``features[modality]``, the summary of its stream, ``(batch, width)``.

    Raises:
        ModelError: when a batch has none of the modalities that the network reads.
    """

    def __init__(self, config: MulTConfig) -> None:
        super().__init__()
        self.config = config
        self.reader = FeatureReader(config)
        self.modalities = self.reader.modalities
        self.input_needs = self.reader.needs
        self.projections = nn.ModuleDict()
        self.crossmodal = nn.ModuleDict()
        self.memories = nn.ModuleDict()
        dim = config.dim
        width = dim * max(1, len(self.modalities) - 1)  # of a stream
        for target in self.modalities:
            self.projections[target] = nn.Conv1d(
                self.reader.widths[target], dim, getattr(config.kernels, target), padding="same", bias=False
            )
            for source in self.sources(target):
                self.crossmodal[f"{target}_from_{source}"] = CrossmodalTransformer(
                    dim, config.heads, config.blocks, config.dropout
                )
            self.memories[target] = SelfAttentionTransformer(width, config.heads, config.blocks, config.dropout)
        self.positions = PositionalEncoding(dim)
        self.dropout = nn.Dropout(config.dropout)
        whole = width * len(self.modalities)
        self.mix = nn.Sequential(
            nn.Linear(whole, whole), nn.ReLU(), nn.Dropout(config.output_dropout), nn.Linear(whole, whole)
        )
        self.head = nn.Linear(whole, config.labels)

    def sources(self, target: Modality) -> tuple[Modality, ...]:
        """The modalities that one attends to."""
        return tuple(m for m in self.modalities if m != target)

    def forward(self, batch: Batch) -> ModelOutput:
        """Logits of a batch; see `ModelOutput` for shapes."""
        read = {m: (self.project(m, sequence), mask) for m, (sequence, mask) in self.reader(batch).items()}
        present = {m: mask.any(1) for m, (_, mask) in read.items()}
        summaries = {m: self.stream(m, read) for m in read}
        logits = self.answer(summaries, present)
        alone = {m: self.answer({m: self.stream(m, {m: read[m]})}, present) for m in read} if len(read) > 1 else {}
        alone = alone or dict.fromkeys(read, logits)
        shares = fusion.shares(alone, present, scales=self.answers_scales)
        return ModelOutput(logits, alone, present, {**summaries}, shares=shares)

    def stored_settings(self) -> MulTConfig:
        """See `Network`."""
        return self.config

    def project(self, modality: Modality, sequence: Tensor) -> Tensor:
        """Low-level features with positions: ``(batch, length, width) -> (batch, length, dim)``."""
        steps = self.projections[modality](sequence.transpose(1, 2)).transpose(1, 2)
        placed: Tensor = self.dropout(self.positions(steps * math.sqrt(self.config.dim)))
        return placed

    def stream(self, target: Modality, read: dict[Modality, tuple[Tensor, Tensor]]) -> Tensor:
        """Summary of a modality that has attended to the others that were read, ``(batch, width)``."""
        sequence, mask = read[target]
        attended = [
            self.crossmodal[f"{target}_from_{source}"](sequence, *read.get(source, (None, None)))
            for source in self.sources(target)
        ]
        summary: Tensor = self.memories[target](torch.cat(attended, 2) if attended else sequence, mask)
        return summary

    def answer(self, summaries: dict[Modality, Tensor], present: dict[Modality, Tensor]) -> Tensor:
        """Logits from the streams at hand, ``(batch, labels)``; a stream that is missing counts as zeros."""
        some = next(iter(summaries.values()))
        whole = torch.cat([summaries[m] if m in summaries else torch.zeros_like(some) for m in self.modalities], 1)
        has_any = torch.stack([present[m] for m in summaries]).any(0)
        logits: Tensor = self.head(whole + self.mix(whole)) * has_any.unsqueeze(1)
        return logits


MODELS.register("mult")(
    ModelKind(MulTConfig, MulT, "MulT: crossmodal transformers over fixed features (Tsai et al. 2019)")
)
