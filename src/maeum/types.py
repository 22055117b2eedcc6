"""What travels through the corridor, from a file on disk to a timeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from maeum.errors import InputError

Modality = Literal["faces", "speech", "text"]

#: What a network reads of a voice: log-mel chunks, or the sound itself.
Sound = Literal["mel_chunks", "wave"]

#: The order in which modalities are stacked, listed and drawn.
MODALITIES: tuple[Modality, ...] = ("faces", "speech", "text")


#: The side of a picture -> the part of it, see `Recording`.
HALVES = {"left": (0.0, 0.0, 0.5, 1.0), "right": (0.5, 0.0, 1.0, 1.0)}


@dataclass(frozen=True)
class Recording:
    """A file (or two) with picture, sound or both; None where a stream is absent.

    Of a recording that shows several people, ``crop`` and ``channel`` say which of them is meant.
    """

    id: str
    video: Path | None = None
    """File with the pictures: a video, or a still image."""
    audio: Path | None = None
    """File with the sound; often the same one."""
    duration_s: float | None = None
    fps: float | None = None
    sample_rate_hz: int | None = None
    crop: tuple[float, float, float, float] | None = None
    """Part of the picture as left, top, right, bottom, fractions of its width and height; None is all of it."""
    channel: int | None = None
    """Channel of the sound, from 0; None is the mean of all."""
    audio_starts_s: float = 0.0
    """Where in the recording the sound's file starts, for a file that holds only a stretch of it."""

    def __post_init__(self) -> None:
        if self.crop is not None:
            left, top, right, bottom = self.crop
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise InputError(
                    f"the crop {self.crop} is no part of a picture",
                    item=self.id,
                    remedy="Give left, top, right, bottom as fractions, such as 0, 0, 0.5, 1.",
                )


@dataclass(frozen=True)
class Utterance:
    """A stretch of a recording in which one speaker says one thing, or a sentence or picture alone."""

    id: str
    """Unique in its corpus."""
    recording: Recording | None = None
    """Its media; None for words alone."""
    dialogue: str | None = None
    """Conversation that it is part of."""
    speaker: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    """None is the recording's end."""
    text: str | None = None
    label: str | tuple[str, ...] | Mapping[str, float] | None = None
    """What `LabelSet.encode` takes: a name, several names, or name -> value."""
    part: str | None = None
    """Official part (train, dev, test) where the corpus has one."""
    session: str | None = None
    """Recording day or room that dialogues share."""
    scales: Mapping[str, float] | None = None
    """Values beside the label, such as ``{"valence": 2.5}``."""
    other_labels: Mapping[str, str] | None = None
    """Labels of other kinds, such as ``{"sentiment": "positive"}``."""
    notes: tuple[str, ...] = ()
    """Remarks of the corpus, such as a file that is missing."""


@dataclass(frozen=True)
class Clip:
    """One utterance as tensors; each modality may be missing (None)."""

    id: str
    faces: Tensor | None = None
    """RGB, uint8, ``(frames, 3, 48, 48)``."""
    mel_chunks: Tensor | None = None
    """Log-mel of 400 ms each, float32, ``(mel_chunks, 1, 128, 32)``."""
    text: str | None = None
    target: Tensor | None = None
    """See `LabelSet.encode`."""
    speaker: str | None = None
    wave: Tensor | None = None
    """The sound itself, 16 kHz mono, float32, ``(samples,)``, for networks that read it."""
    spoken_text: str | None = None
    """Words of the sound; None where they are unknown, or the sound is not of ``text``, as in a collage."""
    view: Clip | None = None
    """Augmented view: the same in other words and another voice."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that are present."""
        present = {"faces": self.faces is not None and len(self.faces) > 0,
                   "speech": any(sound is not None and len(sound) > 0 for sound in (self.mel_chunks, self.wave)),
                   "text": bool(self.text and self.text.strip())}  # fmt: skip
        return tuple(m for m in MODALITIES if present[m])


@dataclass(frozen=True)
class Batch:
    """Clips padded to one length; masks are True where valid. A modality that no clip has is None.

    A clip without a modality has an all-False row in that modality's mask.
    """

    ids: tuple[str, ...]
    faces: Tensor | None = None  # (batch, frames, 3, 48, 48) uint8 or float, 0..255
    faces_mask: Tensor | None = None  # (batch, frames) bool
    mel_chunks: Tensor | None = None  # (batch, mel chunks, 1, 128, 32) log-mel
    mel_chunks_mask: Tensor | None = None  # (batch, mel chunks) bool
    tokens: Tensor | None = None  # (batch, length) int64
    tokens_mask: Tensor | None = None  # (batch, length) bool
    vectors: Tensor | None = None  # (batch, length, width), a frozen text encoder's output for the tokens
    target: Tensor | None = None  # (batch,) int64 or (batch, labels) float32
    wave: Tensor | None = None  # (batch, samples) 16 kHz
    wave_mask: Tensor | None = None  # (batch, samples) bool
    sound_features: Tensor | None = None  # (batch, steps, ...), output of a speech encoder's frozen part for the wave
    sound_features_mask: Tensor | None = None  # (batch, steps) bool
    transcript_ids: Tensor | None = None  # (batch, length) int64, characters of the spoken words, for CTC
    transcript_mask: Tensor | None = None  # (batch, length) bool
    view: Batch | None = None  # augmented views of the clips that have one, in their order
    has_view: Tensor | None = None  # (batch,) bool, which clips have a view

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        parts = {k: v for k, v in vars(self).items() if isinstance(v, Tensor | Batch)}
        moved: dict[str, Any] = {
            k: v.to(device) if isinstance(v, Batch) else v.to(device, non_blocking=True) for k, v in parts.items()
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class ModelOutput:
    """A network's answer about a batch; no losses."""

    logits: Tensor
    """Fused logits, ``(batch, labels)``."""
    modality_logits: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Each modality's own logits, ``(batch, labels)``."""
    present: Mapping[Modality, Tensor] = field(default_factory=dict)
    """Which clips have that modality, ``(batch,)`` bool."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Named vectors of each clip, such as each branch's CLS."""
    auxiliary: Mapping[str, Tensor] = field(default_factory=dict)
    """What losses and studies read beside: attention, selected positions, a CTC head's logits."""
    contributions: Mapping[Modality, Tensor] = field(default_factory=dict)
    """What each modality adds to the fused logits, ``(batch, labels)``, where it is not ``modality_logits``."""
    shares: Mapping[Modality, Tensor] = field(default_factory=dict)
    """How much each modality counts in the fused logits, ``(batch,)``; 0 where a clip lacks it, 1 in sum. Empty for a
    network that reads its modalities together only."""


@dataclass(frozen=True)
class ModalityOpinion:
    """One modality's own prediction: probabilities of labels, or values on scales."""

    probs: Mapping[str, float]
    """Label -> probability; empty of a dimensional model."""
    share: float
    """How much it counts in the fused prediction, 0 to 1; the shares of a prediction sum to 1."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Scale -> value; empty of other models."""

    @property
    def label(self) -> str | None:
        """Its most probable label; None of values on scales."""
        return max(self.probs, key=lambda name: self.probs[name], default=None)


@dataclass(frozen=True)
class Prediction:
    """A model's answer about one utterance.

    Of a dimensional model, ``values`` and ``intervals`` hold it; ``probs`` is empty, ``label`` None, ``confidence`` 0.
    """

    probs: Mapping[str, float]
    """Label -> probability; they sum to 1 for single-label models."""
    label: str | None
    """The most probable label; None where it abstains."""
    confidence: float
    """Probability of ``label``."""
    modalities: Mapping[Modality, ModalityOpinion] = field(default_factory=dict)
    """Prediction and share of each modality that was used."""
    reason: str | None = None
    """Why it abstains; None where it does not."""
    notes: tuple[str, ...] = ()
    """Remarks on an answer, such as a modality that could not be used, and why."""
    id: str | None = None
    """Of the utterance."""
    above: tuple[str, ...] | None = None
    """Of multi-label models: the labels above their thresholds."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Scale -> value in the units of the model's corpus; empty where it abstains."""
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Scale -> lowest and highest value between which the true one is in 90 % of cases like the model's dev items;
    without scales for which that was not measured."""
    prediction_set: tuple[str, ...] | None = None
    """Of a model with a coverage (`maeum calibrate --coverage`): the labels among which the true one is that often,
    the likeliest first. None for other models, and where the coverage was not fitted for these modalities."""

    @property
    def answered(self) -> bool:
        """Whether there is an answer: a label, or values; ``reason`` says why not."""
        return self.label is not None or bool(self.values)

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels that apply: any number for multi-label models, one for others; none where it abstains."""
        if self.label is None:
            return ()
        return (self.label,) if self.above is None else self.above


@dataclass(frozen=True)
class FaceTrack:
    """One person's face through a recording."""

    id: int
    boxes: tuple[tuple[float, float, float, float, float], ...]
    """(time_s, left, top, right, bottom) of each frame; pixels of the upright frame."""
    thumbnail_png: bytes | None = None


@dataclass(frozen=True)
class Word:
    """A recognised word. confidence: 0 to 1."""

    text: str
    start_s: float
    """From the recording's start."""
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Segment:
    """A stretch of a timeline."""

    start_s: float
    end_s: float
    prediction: Prediction
    text: str | None = None
    face: int | None = None
    """Id of the face track that was used; None without a face."""
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    """Recognised words with their times, of which ``text`` is made. Empty where a transcript gave the text."""


@dataclass(frozen=True)
class Timeline:
    """Emotions expressed over the time of a recording, as writers and pages consume them."""

    source: str
    """The recording's file."""
    duration_s: float
    segments: tuple[Segment, ...]
    tracks: tuple[FaceTrack, ...] = ()
    labels: tuple[str, ...] = ()
    """Labels, or scales, of the model."""
    model: str = ""
    """The model's name."""
    notes: tuple[str, ...] = ()
    """Remarks on the recording as a whole, such as a missing audio track."""
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Lowest and highest value of each scale; empty where the model has labels."""
    recognizer: str = ""
    """Name of the speech recogniser that the words are from, which may be wrong; empty where a transcript gave them."""
    language: str = ""
    """ISO 639-1 code of the language that it recognised."""
