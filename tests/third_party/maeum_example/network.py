"""A network: the mean of a sentence's word vectors, classified."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ModelError
from maeum.models.network import InputNeeds, Network
from maeum.models.registry import ModelKind
from maeum.types import Batch, ModelOutput


class WordMeanConfig(Config):
    """Sizes of the network."""

    labels: int = Field(ge=1)
    """Number of outputs; training fills it in."""
    vocabulary: int = Field(default=8000, ge=1)
    """Number of token ids, those of the recipe's tokenizer."""
    width: int = Field(default=32, ge=1)
    """Size of a word vector."""


class WordMean(Network):
    """Reads words alone. The attribute `fusion` shows that names mean nothing to maeum."""

    modalities = ("text",)

    def __init__(self, config: WordMeanConfig) -> None:
        super().__init__()
        self.input_needs = InputNeeds(vocabulary=config.vocabulary)
        self.vectors = nn.Embedding(config.vocabulary, config.width)
        self.fusion = nn.Linear(config.width, config.labels)

    def forward(self, batch: Batch) -> ModelOutput:
        """Zeros for clips without words."""
        if batch.tokens is None or batch.tokens_mask is None:
            raise ModelError("the batch has no words")
        mask = batch.tokens_mask.unsqueeze(2)  # (batch, length, 1)
        words = (self.vectors(batch.tokens) * mask).sum(1) / mask.sum(1).clamp(min=1)
        present = batch.tokens_mask.any(1)
        logits: Tensor = torch.where(present.unsqueeze(1), self.fusion(words), 0.0)
        return ModelOutput(logits, {"text": logits}, {"text": present}, {"text": words})


WORD_MEAN = ModelKind(WordMeanConfig, WordMean, "the mean of word vectors, classified")
