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
    """A file (or two) with picture, sound or both. Durations in seconds; rates in Hz; None where a stream is absent.

    Of a recording that shows several people, ``crop`` and ``channel`` say which of them is meant.

    crop: part of the picture as (left, top, right, bottom), fractions of its width and height; None is all of it.
    channel: of the sound, from 0; None is the mean of all. audio_starts_s: where in the recording the sound's file
    starts, for a file that holds only a stretch of it.
    """

    id: str
    video: Path | None = None
    audio: Path | None = None
    duration_s: float | None = None
    fps: float | None = None
    sample_rate_hz: int | None = None
    crop: tuple[float, float, float, float] | None = None
    channel: int | None = None
    audio_starts_s: float = 0.0

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
    """A stretch of a recording in which one speaker says one thing.

    ``label`` is what `LabelSet.encode` takes: a name, several names, or name -> value. ``end_s`` None means the
    recording's end. ``part`` is the official part (train, dev, test) where the corpus has one. ``session``: the
    recording day or room that dialogues share. ``scales``: values beside the label, such as valence -> 2.5.
    ``other_labels``: labels of other kinds, such as sentiment -> positive. ``notes``: what the corpus has to say about
    it (a file that is missing).
    """

    id: str
    recording: Recording | None = None
    dialogue: str | None = None
    speaker: str | None = None
    start_s: float = 0.0
    end_s: float | None = None
    text: str | None = None
    label: str | tuple[str, ...] | Mapping[str, float] | None = None
    part: str | None = None
    session: str | None = None
    scales: Mapping[str, float] | None = None
    other_labels: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clip:
    """One utterance as tensors; each modality may be missing (None).

    faces: uint8 RGB, ``(frames, 3, 48, 48)``. mel_chunks: float32 log-mel, ``(mel_chunks, 1, 128, 32)``, 400 ms each.
    wave: the sound itself, 16 kHz mono float32, ``(samples,)``, for networks that read it. spoken_text: the words that
    the sound says, None where these are unknown or others than ``text``, as in a collage. view: the same in other
    words and another voice.
    """

    id: str
    faces: Tensor | None = None
    mel_chunks: Tensor | None = None
    text: str | None = None
    target: Tensor | None = None
    speaker: str | None = None
    wave: Tensor | None = None
    spoken_text: str | None = None
    view: Clip | None = None

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that are present."""
        there = {"faces": self.faces is not None and len(self.faces) > 0,
                 "speech": any(sound is not None and len(sound) > 0 for sound in (self.mel_chunks, self.wave)),
                 "text": bool(self.text and self.text.strip())}  # fmt: skip
        return tuple(m for m in MODALITIES if there[m])


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
    vectors: Tensor | None = None  # (batch, length, width), what a frozen text encoder made of the tokens
    target: Tensor | None = None  # (batch,) int64 or (batch, labels) float32
    wave: Tensor | None = None  # (batch, samples) 16 kHz
    wave_mask: Tensor | None = None  # (batch, samples) bool
    conv_features: Tensor | None = None  # (batch, steps, channels), what frozen convolutions made of the wave
    transcript_ids: Tensor | None = None  # (batch, length) int64 characters of what the voice says, for CTC
    transcript_mask: Tensor | None = None  # (batch, length) bool
    view: Batch | None = None  # the augmented views of those that have one, in their order
    has_view: Tensor | None = None  # (batch,) bool, which have one

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
    """What one modality alone says: probabilities of labels, or values on scales.

    share: its part, 0..1, in the fused answer; shares of an answer sum to 1.
    """

    probs: Mapping[str, float]
    share: float
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str | None:
        """Its most probable label; None of values on scales."""
        return max(self.probs, key=lambda name: self.probs[name], default=None)


@dataclass(frozen=True)
class Prediction:
    """An answer about one utterance.

    probs: label -> probability; they sum to 1 for single-label models. label: the most probable one, None when there
    was nothing to go on. reason: why it abstains (label None), else None. notes: what to know about an answer that was
    given (a modality that could not be used, and why). above: for multi-label models, the labels above their
    thresholds.

    Of a model that answers with scales instead of labels: values: scale -> value in the units of its corpus, nothing
    where it abstains. intervals: scale -> lowest and highest value between which the true one is in 90 % of cases, as
    far as its dev items can tell; without the scales for which that was not measured. probs is then empty, label None,
    confidence 0.
    """

    probs: Mapping[str, float]
    label: str | None
    confidence: float
    modalities: Mapping[Modality, ModalityOpinion] = field(default_factory=dict)
    reason: str | None = None
    notes: tuple[str, ...] = ()
    id: str | None = None
    above: tuple[str, ...] | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

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
    """One person's face through a recording. boxes: (time_s, left, top, right, bottom), pixels of the upright frame."""

    id: int
    boxes: tuple[tuple[float, float, float, float, float], ...]
    thumbnail_png: bytes | None = None


@dataclass(frozen=True)
class Segment:
    """A stretch of a timeline. ``face`` is the id of the face track that was used, None without a face."""

    start_s: float
    end_s: float
    prediction: Prediction
    text: str | None = None
    face: int | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class Timeline:
    """Who felt what, when, and how sure we are. What writers and pages consume.

    labels: names of what its model answers with. scales: lowest and highest value of each, where these are scales.
    notes: what the user should know about the recording as a whole (no audio track, truncated at 3.2 s ...).
    """

    source: str
    duration_s: float
    segments: tuple[Segment, ...]
    tracks: tuple[FaceTrack, ...] = ()
    labels: tuple[str, ...] = ()
    model: str = ""
    notes: tuple[str, ...] = ()
    scales: Mapping[str, tuple[float, float]] = field(default_factory=dict)
