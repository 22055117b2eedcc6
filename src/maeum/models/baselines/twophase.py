"""Inputs of the baselines: sequences of fixed features of faces and speech, and vectors of words.

"Two-phase" (Dai et al. 2021): features are computed first, by rules that do not learn, and a network is
trained on their sequences. Published systems take them from programs and word vectors that are not free or not at hand
(Facet, COVAREP, GloVe in Tsai et al. 2019); these take their place:

- a face: its histograms of oriented gradients, `hog`, because they need nothing but the crop, do not mind the light,
  and were what expressions were read from before networks; 900 values;
- speech: every 100 ms mean and deviation of 32 mel bands, `mel_statistics`; 64 values;
- words: a vector of each token, learned with the network.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ModelError
from maeum.media.shapes import FACE_PX
from maeum.models.baselines.descriptors import HOG_WIDTH, hog, mel_statistics
from maeum.models.layers import scatter_valid
from maeum.models.maps import LUMA
from maeum.models.network import InputNeeds
from maeum.types import MODALITIES, Batch, Modality

#: A block of `hog` has length 1 and 36 values; times this their mean square is 1.
_HOG_SCALE = 6.0


class FaceFeatures(Config):
    """Histograms of oriented gradients of each face."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the values while training."""


class SpeechFeatures(Config):
    """Statistics of log-mel over time, see `mel_statistics`."""

    bands: Literal[8, 16, 32, 64, 128] = 32
    """So many bands the 128 mel bands are averaged to."""
    frames: Literal[1, 2, 4, 8, 16, 32] = 8
    """Frames of 12.5 ms in one step."""
    range_db: float = Field(default=80.0, gt=0, le=200)
    """Log-mel further than this below an utterance's loudest bin is floor, in dB."""
    silence_db: float | None = Field(default=None, ge=0, le=200)
    """Steps that stay so many dB below the loudest one are left out; None keeps all."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the values while training."""


class TextFeatures(Config):
    """A learned vector of each token."""

    vocabulary: int = Field(default=8000, ge=1, le=1_000_000)
    """How many tokens it knows; not fewer than the tokenizer has."""
    width: int = Field(default=100, ge=1, le=16_384)
    """Width of a token's vector."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout of the values while training."""


class TwoPhaseConfig(Config):
    """What a two-phase network reads. A modality that is None is not read."""

    labels: int = Field(ge=1, le=65_536)
    """How many labels or scales it answers with; filled in from the corpus."""
    faces: FaceFeatures | None = FaceFeatures()
    """The features of faces."""
    speech: SpeechFeatures | None = SpeechFeatures()
    """The features of speech."""
    text: TextFeatures | None = None
    """The features of text."""


class FeatureReader(nn.Module):
    """Sequences of features of a batch; only the vectors of tokens are learned.

    ``modalities`` are those it reads, ``widths`` the number of values of a step of each, ``needs`` what it needs of
    its inputs.

    Raises:
        ModelError: when it is to read nothing, a batch has none of what it reads, or faces are not 48x48.
    """

    def __init__(self, config: TwoPhaseConfig) -> None:
        super().__init__()
        self.config = config
        self.widths: dict[Modality, int] = {}
        self.dropouts = nn.ModuleDict()
        if config.faces is not None:
            self.widths["faces"] = HOG_WIDTH
            self.dropouts["faces"] = nn.Dropout(config.faces.dropout)
        if config.speech is not None:
            self.widths["speech"] = 2 * config.speech.bands
            self.dropouts["speech"] = nn.Dropout(config.speech.dropout)
        if config.text is not None:
            self.widths["text"] = config.text.width
            self.dropouts["text"] = nn.Dropout(config.text.dropout)
            self.embedding = nn.Embedding(config.text.vocabulary, config.text.width)
            nn.init.normal_(self.embedding.weight, std=0.1)
        if not self.widths:
            raise ModelError("a network needs at least one of faces, speech and text")
        self.modalities: tuple[Modality, ...] = tuple(m for m in MODALITIES if m in self.widths)
        self.needs = InputNeeds(vocabulary=None if config.text is None else config.text.vocabulary)

    def forward(self, batch: Batch) -> dict[Modality, tuple[Tensor, Tensor]]:
        """Of each modality of the batch: sequences ``(batch, length, width)``, zero in the padding, and their masks."""
        read: dict[Modality, tuple[Tensor, Tensor]] = {}
        config = self.config
        if config.faces is not None and batch.faces is not None and batch.faces_mask is not None:
            described = describe_faces(batch.faces[batch.faces_mask])
            read["faces"] = scatter_valid(described, batch.faces_mask), batch.faces_mask
        if config.speech is not None and batch.mel_chunks is not None and batch.mel_chunks_mask is not None:
            read["speech"] = describe_speech(batch.mel_chunks, batch.mel_chunks_mask, config.speech)
        if config.text is not None and batch.tokens is not None and batch.tokens_mask is not None:
            mask = batch.tokens_mask
            read["text"] = self.embedding(batch.tokens) * mask.unsqueeze(2), mask
        if not read:
            raise ModelError(
                f"the batch has none of the modalities that the network reads ({', '.join(self.modalities)})"
            )
        return {m: (self.dropouts[m](sequence), mask) for m, (sequence, mask) in read.items()}


def describe_faces(faces: Tensor) -> Tensor:
    """Faces ``(n, 3, 48, 48)``, 0..255, to ``(n, 900)``; ModelError on faces of another size."""
    if tuple(faces.shape[-2:]) != (FACE_PX, FACE_PX):
        raise ModelError(
            f"faces are {faces.shape[-2]}x{faces.shape[-1]} px, features are of {FACE_PX}x{FACE_PX} px",
            remedy="Leave face_sizes out of the training settings.",
        )
    maps = faces.float()
    grey = (maps * maps.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1)
    return hog(grey) * _HOG_SCALE


def describe_speech(mel_chunks: Tensor, mask: Tensor, config: SpeechFeatures) -> tuple[Tensor, Tensor]:
    """Mel chunks ``(batch, mel_chunks, 1, 128, 32)`` and their mask to steps ``(batch, steps, 2 * bands)`` and theirs.

    Statistics are relative to each utterance's own loudest bin; steps that are left out leave no gap.
    """
    owner = mask.nonzero(as_tuple=True)[0]
    features, level = mel_statistics(
        mel_chunks[mask], owner, len(mask), bands=config.bands, frames=config.frames, range_db=config.range_db
    )
    audible = torch.ones_like(level, dtype=torch.bool) if config.silence_db is None else level >= -config.silence_db
    owner = owner.unsqueeze(1).expand_as(audible)[audible]
    counts = torch.bincount(owner, minlength=len(mask))
    longest = max(1, int(counts.max()))
    steps = torch.arange(longest, device=mask.device) < counts.unsqueeze(1)
    return scatter_valid(features[audible], steps), steps
