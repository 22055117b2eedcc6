"""Batches of an epoch: sampled, varied and collated, depending on seed, epoch and place alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field

from maeum.config import Config
from maeum.data.augment import FaceAugment, augment_faces
from maeum.data.augment_mel import MelAugment, augment_mel
from maeum.data.augment_text import TextAugment, augment_text
from maeum.data.augment_wave import WaveAugment, augment_wave
from maeum.data.collate import Collator
from maeum.data.dataset import ClipDataset
from maeum.data.mixup import mix
from maeum.data.sampler import BucketSampler
from maeum.types import Batch, Clip, Modality


class ViewConfig(Config):
    """How an utterance's augmented view is made, for the augmented contrast: it varies more than training clips do.

    Where a store of augmented views (other words, another voice) is given, those vary.
    """

    mel_chunks: MelAugment | None = MelAugment(tempo=0.2, warp=0.2, eq_db=6.0, noise=0.5)
    """How the mel chunks of the view vary; not at all when null."""
    wave: WaveAugment | None = WaveAugment(speed=0.15, pitch=4.0, noise=0.5, room=0.5)
    """How the waveform of the view varies; not at all when null."""
    text: TextAugment | None = TextAugment(plain=0.5, leave_out=0.15)
    """How the text of the view varies; not at all when null."""


class AugmentConfig(Config):
    """How training clips vary."""

    faces: FaceAugment | None = None
    """How faces vary; not at all when null."""
    mel_chunks: MelAugment | None = None
    """How mel chunks vary; not at all when null."""
    wave: WaveAugment | None = None
    """How the waveform varies; not at all when null."""
    text: TextAugment | None = None
    """How texts vary; not at all when null."""
    view: ViewConfig | None = None
    """How augmented views are made for the augmented contrast; none are made when null."""
    drop_modality: float = Field(default=0.0, ge=0, le=1)
    """Probability of each modality of a clip to be withheld; one always stays."""
    mixup: float = Field(default=0.0, ge=0, le=100)
    """Strength of the blend of two clips (the parameter of the beta distribution that the share is drawn from); 0
    blends none."""


class Feed:
    """Training batches of a dataset.

    Args:
        dataset: the clips.
        sampler: which make a batch.
        collate: makes the batch.
        augment: how they vary; None for not at all.
        seed: of the variation.
    """

    def __init__(
        self,
        dataset: ClipDataset,
        sampler: BucketSampler,
        collate: Collator,
        augment: AugmentConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.dataset, self.sampler, self.collate = dataset, sampler, collate
        self.augment, self.seed = augment or AugmentConfig(), seed

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.sampler)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number ``start`` on; the same for the same arguments."""
        for number, indices in enumerate(self.sampler.batches(epoch)[start:], start):
            seed = ((self.seed * 1_000_003 + epoch) * 1_000_003 + number) % 2**63
            generator = torch.Generator().manual_seed(seed)
            batch = self.collate(self._vary([self.dataset[i] for i in indices], generator))
            mixup = self.augment.mixup
            yield mix(batch, self.dataset.label_set, mixup, generator) if mixup else batch

    def _vary(self, clips: list[Clip], generator: torch.Generator) -> list[Clip]:
        augment = self.augment
        if augment.drop_modality:
            clips = [self._withhold(clip, generator) for clip in clips]
        if augment.faces is not None:
            clips = _vary_faces(clips, augment.faces, generator)
        if augment.view is not None:
            view = augment.view
            clips = [
                replace(c, view=_vary_sound_and_text(c.view or c, view.mel_chunks, view.wave, view.text, generator))
                for c in clips
            ]
        return [_vary_sound_and_text(c, augment.mel_chunks, augment.wave, augment.text, generator) for c in clips]

    def _withhold(self, clip: Clip, generator: torch.Generator) -> Clip:
        present = clip.modalities
        gone = [m for m in present if torch.rand((), generator=generator) < self.augment.drop_modality]
        if len(gone) == len(present) and gone:
            gone.pop(int(torch.randint(len(gone), (), generator=generator)))
        fields: dict[Modality, tuple[str, ...]] = {
            "faces": ("faces",),
            "speech": ("mel_chunks", "wave"),
            "text": ("text",),
        }
        withheld: dict[str, Any] = {field: None for m in gone for field in fields[m]}
        return replace(clip, **withheld)


def _vary_sound_and_text(
    clip: Clip,
    mel_chunks: MelAugment | None,
    wave: WaveAugment | None,
    text: TextAugment | None,
    generator: torch.Generator,
) -> Clip:
    """The clip with its sound and its words varied."""
    varied: dict[str, Any] = {}
    if mel_chunks is not None and clip.mel_chunks is not None and len(clip.mel_chunks):
        varied["mel_chunks"] = augment_mel(clip.mel_chunks, mel_chunks, generator)
    if wave is not None and clip.wave is not None and len(clip.wave):
        varied["wave"] = augment_wave(clip.wave, wave, generator)
    if text is not None and clip.text:
        varied["text"] = augment_text(clip.text, text, generator)
    return replace(clip, **varied)


def _vary_faces(clips: list[Clip], config: FaceAugment, generator: torch.Generator) -> list[Clip]:
    counts = [0 if c.faces is None else len(c.faces) for c in clips]
    if not sum(counts):
        return clips
    every = torch.cat([c.faces for c in clips if c.faces is not None])
    faces = torch.split(augment_faces(every, config, generator), counts)
    return [replace(c, faces=f) if n else c for c, f, n in zip(clips, faces, counts, strict=True)]
