"""FE2E: the fully end-to-end network from face frames, speech pieces and words to emotions.

Dai, Cahyawijaya, Liu, Fung, "Multimodal End-to-End Sparse Model for Emotion Recognition", NAACL 2021, section 3.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from maeum.config import Config
from maeum.models.layers import SequenceEncoder, Stem, VGGBlock, scatter_valid
from maeum.types import MODALITIES, Batch, Modality, ModelOutput


class TransformerConfig(Config):
    """Sizes of the transformer over frames or pieces."""

    layers: int = 4
    heads: int = 4
    feedforward: int = 2048
    dropout: float = 0.1
    positions: bool = True


class CNNConfig(Config):
    """Sizes of the CNN that reads one frame or piece.

    widths: channels of the stem and of the three VGG blocks after it. hidden: width between the flattened map and d.
    norm: ``published`` subtracts the published mean and divides by the published deviation (faces) or takes log-mel as it
    is (pieces); ``each`` standardises every face by itself, and sets every utterance's loudest log-mel bin to 0.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem_blocks: int = 2
    hidden: int = 1024
    dropout: float = 0.0
    map_dropout: float = 0.0
    norm: Literal["published", "each"] = "published"
