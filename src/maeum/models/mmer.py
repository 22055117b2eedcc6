"""MMER: speech and words that attend to each other, an acoustic gate, and heads for its further training tasks.

Ghosh, Tyagi, Ramaneswaran, Srivastava, Manocha, "MMER: Multimodal Multi-task Learning for Speech Emotion Recognition",
Interspeech 2023, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ConfigError, ModelError
from maeum.models.encoders.character_vocabulary import CharacterVocabulary
from maeum.models.encoders.pretrained_speech import PretrainedLayers, PretrainedSpeechConfig
from maeum.models.encoders.speech import HubSpeechConfig, HubSpeechEncoder, SmallSpeechConfig, SmallSpeechEncoder
from maeum.models.encoders.text import HubTextEncoder, TextConfig, TokenEmbedder, build_text_reader
from maeum.models.layers import check_width
from maeum.models.network import (
    CTC_LOGITS,
    CTC_MASK,
    PROJECTION,
    VIEW_PROJECTION,
    HasBranches,
    HasFrozenEncoders,
    InputNeeds,
    Network,
    TranscribesSpeech,
)
from maeum.models.registry import MODELS, ModelKind
from maeum.types import Batch, Modality, ModelOutput

#: Parts that an ablation may leave out.
Part = Literal["speech-over-text", "text-over-text", "text-over-speech", "gate"]


SpeechConfig = Annotated[SmallSpeechConfig | HubSpeechConfig | PretrainedSpeechConfig, Field(discriminator="kind")]


def build_speech_encoder(
    config: SmallSpeechConfig | HubSpeechConfig | PretrainedSpeechConfig,
) -> SmallSpeechEncoder | HubSpeechEncoder | PretrainedLayers:
    """The encoder of a configuration: ``(batch) -> (sequence (batch, steps, dim), mask (batch, steps))``, or None.

    None: the batch has nothing that it reads. Its ``dim`` is a vector's width; its ``config`` builds it again without
    a network.

    Raises:
        ModelError: when a pretrained encoder cannot be had, or an architecture is unknown.
    """
    if isinstance(config, PretrainedSpeechConfig):
        return PretrainedLayers(config)
    return SmallSpeechEncoder(config) if isinstance(config, SmallSpeechConfig) else HubSpeechEncoder(config)


class MMERConfig(Config):
    """Settings of MMER. A modality that is None does not exist."""

    labels: int = Field(ge=1, le=65_536)
    """How many labels or scales it answers with; filled in from the corpus."""
    dim: int = Field(default=768, ge=1, le=16_384)
    """Width of the cross-modal encoders."""
    heads: int = Field(default=12, ge=1, le=256)
    """Attention heads of the cross-modal encoders; they divide ``dim``."""
    feedforward: int = Field(default=3072, ge=1, le=65_536)
    """Width of the feed-forward layers of the cross-modal encoders."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout in the cross-modal encoders and before the classifier while training."""
    speech: SpeechConfig | None
    """The speech encoder: a small one of mel chunks; one of the hub that reads the wave; or the mixed layers of a
    pretrained one, Whisper too, whose ``pooling`` has no effect here."""
    text: TextConfig | None
    """The text encoder: small, or one of the hub."""
    freeze_text: bool = True
    """The text encoder does not learn, as in the paper."""
    characters: tuple[str, ...] = ()
    """The symbols of the CTC head, the blank first (see `CharacterVocabulary`); empty builds no such head. A training
    with the loss ``ctc`` takes them from its transcripts."""
    project: int = Field(default=768, ge=0, le=16_384)
    """Width of the vectors that the contrastive losses compare; 0 builds no such layers."""
    without: tuple[Part, ...] = ()
    """Parts that are left out, for ablations. A cross-modal encoder that is left out hands its queries on as they
    are."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_width(self.dim, self.heads)
        if self.characters and self.speech is None:
            raise ValueError("characters are for a CTC head on speech, which is None")
        return self


class CrossModalEncoder(nn.Module):
    """Attention of one sequence to another and a feed-forward part, each with a residual and a layer norm behind it.

    One layer of the transformer encoder (post-norm, GELU) whose keys and values are another sequence; over itself it
    is BERT's layer (Ghosh et al. 2023, section 3.2).
    """

    def __init__(self, dim: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.widen, self.narrow = nn.Linear(dim, feedforward), nn.Linear(feedforward, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Attend.

        Args:
            queries: ``(batch, n, dim)``.
            keys: the sequence that is attended to, ``(batch, m, dim)``; also the values.
            mask: its valid steps, ``(batch, m)`` bool; every row has one.

        Returns:
            ``(batch, n, dim)``.
        """

        def split(values: Tensor) -> Tensor:  # of shape (batch, heads, length, dim / heads)
            return values.view(*values.shape[:2], self.heads, -1).transpose(1, 2)

        found = F.scaled_dot_product_attention(
            split(self.query(queries)),
            split(self.key(keys)),
            split(self.value(keys)),
            attn_mask=mask[:, None, None, :],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        hidden = self.norm1(queries + self.dropout(self.out(found.transpose(1, 2).flatten(2))))
        read: Tensor = self.norm2(hidden + self.dropout(self.narrow(F.gelu(self.widen(hidden)))))
        return read


class MMER(Network, TranscribesSpeech, HasBranches, HasFrozenEncoders):
    """MMER (Ghosh et al., Interspeech 2023, section 3).

    Speech and text are encoded, then attend to each other:

    - B, ``speech-over-text``: speech queries text
    - C, ``text-over-text``: text queries B's output, which gives speech-aware words R
    - D, ``text-over-speech``: text queries speech, which gives word-aware speech Q, scaled by the acoustic gate E

    Max-pooled R and Q are fused linearly, concatenated with max-pooled speech, and classified; as in the published
    code, steps are pooled before they are fused. A missing modality is replaced by one learned step.

    Inputs: a `Batch` with ``wave (batch, samples)`` or ``mel_chunks``, as the speech encoder reads, and/or
    ``tokens (batch, length)``.
    Outputs: logits ``(batch, labels)``; ``features["fused"]``, which the logits are made from,
    ``(batch, speech_dim + dim)``; ``auxiliary["projection"]`` and ``["view_projection"]``, which the contrastive losses
    compare, ``(batch, project)``, of an utterance and of one that is another's augmented view;
    ``auxiliary["ctc.logits"] (batch, frames, characters)`` and ``["ctc.mask"] (batch, frames)``, where there is speech.

    Raises:
        ModelError: when there is neither an encoder of speech nor of text, or a batch has neither.
    """

    def __init__(self, config: MMERConfig) -> None:
        super().__init__()
        if config.speech is None and config.text is None:
            raise ModelError("a network needs at least one of speech and text")
        dim = config.dim
        self.encoders = nn.ModuleDict()
        speech_dim, text_dim = dim, dim
        reads_mel = config.speech is None or isinstance(config.speech, SmallSpeechConfig)
        needs = InputNeeds("mel_chunks" if reads_mel else "wave")
        if config.speech is not None:
            speech = self.encoders["speech"] = build_speech_encoder(config.speech)
            config, speech_dim = config.model_copy(update={"speech": speech.config}), speech.dim
        if config.text is not None:
            text = self.encoders["text"] = build_text_reader(config.text)
            needs = replace(needs, max_tokens=text.longest, vocabulary=text.vocabulary)
            config, text_dim = config.model_copy(update={"text": text.config}), text.width
            if config.freeze_text:
                text.requires_grad_(False)
        self.config = config
        both: tuple[Modality, ...] = ("speech", "text")
        self.modalities: tuple[Modality, ...] = tuple(m for m in both if m in self.encoders)
        self.input_needs = needs
        self.auxiliary_names = frozenset(
            (*((CTC_LOGITS, CTC_MASK) if config.characters else ()),
             *((PROJECTION, VIEW_PROJECTION) if config.project else ()))
        )  # fmt: skip
        self.absent = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(d) * d**-0.5) for m, d in (("speech", speech_dim), ("text", text_dim))}
        )

        def encoder() -> CrossModalEncoder:
            return CrossModalEncoder(dim, config.heads, config.feedforward, config.dropout)

        self.text_in = nn.Identity() if text_dim == dim else nn.Linear(text_dim, dim)
        self.text_over_itself = encoder()
        self.speech_as_value, self.speech_as_query = nn.Linear(speech_dim, dim), nn.Linear(speech_dim, dim)
        self.cross = nn.ModuleDict(
            {
                n: encoder()
                for n in ("speech-over-text", "text-over-text", "text-over-speech")
                if n not in config.without
            }
        )
        self.gate = None if "gate" in config.without else nn.Linear(2 * dim, dim)
        self.fuse = nn.Linear(2 * dim, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(speech_dim + dim, config.labels)
        self.ctc_head = nn.Linear(speech_dim, len(config.characters)) if config.characters else None
        self.projection, self.view_projection = (
            nn.Sequential(
                nn.Linear(speech_dim + dim, config.project), nn.GELU(), nn.Linear(config.project, config.project)
            )
            if config.project
            else None
            for _ in range(2)
        )

    def forward(self, batch: Batch) -> ModelOutput:
        """See `Network.forward`."""
        inputs = {"speech": (batch.wave, batch.mel_chunks), "text": (batch.tokens,)}
        if all(tensor is None for m in self.modalities for tensor in inputs[m]):
            raise ModelError(
                f"the batch has none of the modalities that the network reads ({', '.join(self.modalities)})"
            )
        encoded = {"speech": self._encode_speech(batch), "text": self._encode_text(batch)}
        present: dict[Modality, Tensor] = {m: one[1].any(1) for m in self.modalities if (one := encoded[m])}
        speech, speech_mask = self._with_absent(encoded["speech"], "speech", len(batch))
        text, text_mask = self._with_absent(encoded["text"], "text", len(batch))
        fused = self._attend_and_fuse(speech, speech_mask, self.text_in(text), text_mask)
        has_any = torch.stack([fused.new_zeros(len(batch), dtype=torch.bool), *present.values()]).any(0).unsqueeze(1)
        auxiliary: dict[str, Tensor] = {}
        for name, project in ((PROJECTION, self.projection), (VIEW_PROJECTION, self.view_projection)):
            if project is not None:
                auxiliary[name] = project(fused)
        if self.ctc_head is not None and encoded["speech"] is not None:
            auxiliary[CTC_LOGITS], auxiliary[CTC_MASK] = self.ctc_head(encoded["speech"][0]), encoded["speech"][1]
        return ModelOutput(self.head(self.dropout(fused)) * has_any, {}, present, {"fused": fused}, auxiliary)

    def stored_settings(self) -> MMERConfig:
        """See `Network`; a hub's encoders are in them as their architectures."""
        return self.config

    def branch_settings(self, modality: Modality) -> dict[str, Any]:
        """See `HasBranches`; here a branch is an encoder."""
        return self.config.model_dump(mode="json").get(modality) or {}

    def take_over_branch(self, source: Network, modality: Modality, temperature: float = 1.0) -> None:
        """See `HasBranches`: the encoder alone. What is not needed of it, such as a summary, is left out."""
        prefix = f"encoders.{modality}."
        own = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(prefix)}
        theirs = source.state_dict()
        fitting = {n: theirs[n] for n, tensor in own.items() if n in theirs and theirs[n].shape == tensor.shape}
        if not own or len(fitting) < len(own):
            lacking = next((name for name in own if name not in fitting), "the network reads none")
            raise ConfigError(f"its {modality} encoder does not fit this network ({lacking})")
        self.load_state_dict(fitting, strict=False)

    def frozen_text_encoder(self) -> TokenEmbedder | HubTextEncoder | None:
        """See `HasFrozenEncoders`."""
        encoder = self.encoders["text"] if "text" in self.encoders and self.config.freeze_text else None
        return encoder if isinstance(encoder, TokenEmbedder | HubTextEncoder) else None

    def frozen_speech_encoder(self) -> HubSpeechEncoder | PretrainedLayers | None:
        """See `HasFrozenEncoders`."""
        encoder = self.encoders["speech"] if "speech" in self.modalities else None
        if isinstance(encoder, PretrainedLayers):
            return None if encoder.kept_states is None else encoder
        if not isinstance(encoder, HubSpeechEncoder) or not encoder.config.freeze_features:
            return None
        return None if encoder.config.sees_padding else encoder

    @property
    def characters(self) -> tuple[str, ...]:
        """See `TranscribesSpeech`."""
        return self.config.characters

    @classmethod
    def settings_for_texts(cls, settings: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
        """See `TranscribesSpeech`."""
        given = settings.get("characters")
        return {**settings, "characters": given or CharacterVocabulary.of(texts).symbols}

    @torch.no_grad()
    def transcribe(self, batch: Batch) -> list[str]:
        """See `TranscribesSpeech`: the most probable character of each frame, repeats and blanks removed."""
        encoded = self._encode_speech(batch) if self.ctc_head is not None else None
        if encoded is None or self.ctc_head is None:
            return [""] * len(batch)
        sequence, mask = encoded
        best = self.ctc_head(sequence).argmax(2)
        characters = CharacterVocabulary(self.config.characters)
        return [characters.decode(row[valid].tolist()) for row, valid in zip(best, mask, strict=True)]

    def _encode_speech(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """``(batch, frames, speech_dim)`` and its mask; None where no clip has speech."""
        encoded: tuple[Tensor, Tensor] | None = self.encoders["speech"](batch) if "speech" in self.encoders else None
        return encoded

    def _encode_text(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """``(batch, length, text width)`` and its mask; None where no clip has text."""
        if "text" not in self.encoders or batch.tokens is None or batch.tokens_mask is None:
            return None
        if batch.vectors is not None and self.config.freeze_text:
            return batch.vectors * batch.tokens_mask.unsqueeze(2), batch.tokens_mask
        encoder = self.encoders["text"]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_text):
            return encoder.sequence(batch.tokens, batch.tokens_mask), batch.tokens_mask  # type: ignore[operator]

    def _with_absent(self, encoded: tuple[Tensor, Tensor] | None, modality: str, clips: int) -> tuple[Tensor, Tensor]:
        """A sequence and its mask in which every clip has a valid step: the learned one where it lacks the modality."""
        absent: Tensor = self.absent[modality]
        if encoded is None:
            return absent.expand(clips, 1, -1), torch.ones(clips, 1, dtype=torch.bool, device=absent.device)
        sequence, mask = encoded
        lacking = ~mask.any(1, keepdim=True)
        first = torch.arange(mask.shape[1], device=mask.device) == 0
        put = lacking & first
        return torch.where(put.unsqueeze(2), absent.to(sequence.dtype), sequence), mask | put

    def _attend_and_fuse(self, speech: Tensor, speech_mask: Tensor, text: Tensor, text_mask: Tensor) -> Tensor:
        """B, C, D, E of section 3.2 and the pooling, ``(batch, speech_dim + dim)``; every clip has a valid step."""

        def attend(name: str, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
            if name not in self.cross:
                return queries
            attended: Tensor = self.cross[name](queries, keys, mask)
            return attended

        words = self.text_over_itself(text, text, text_mask)
        text_aware_speech = attend("speech-over-text", self.speech_as_query(speech), words, text_mask)
        speech_aware_words = attend("text-over-text", words, text_aware_speech, speech_mask)
        word_aware_speech = attend("text-over-speech", words, self.speech_as_value(speech), speech_mask)
        if self.gate is not None:
            gate = self.gate(torch.cat((speech_aware_words, word_aware_speech), 2)).sigmoid()
            word_aware_speech = gate * word_aware_speech
        both = torch.cat((_max_pool(speech_aware_words, text_mask), _max_pool(word_aware_speech, text_mask)), 1)
        return torch.cat((_max_pool(speech, speech_mask), self.fuse(both)), 1)


def _max_pool(sequence: Tensor, mask: Tensor) -> Tensor:
    """The largest value over valid steps, ``(batch, dim)``; every clip has one."""
    return sequence.masked_fill(~mask.unsqueeze(2), -torch.inf).amax(1)


MODELS.register("mmer")(ModelKind(MMERConfig, MMER, "MMER: speech and words in cross-attention (Ghosh et al. 2023)"))
