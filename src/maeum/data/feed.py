"""Batches of an epoch: sampled, varied and collated, depending on seed, epoch and place alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field

from maeum.config import Config
from maeum.data.augment import FaceAugment, augment_faces
from maeum.data.augment_pieces import PieceAugment, augment_pieces
from maeum.data.augment_text import TextAugment, augment_text
from maeum.data.collate import Collator
from maeum.data.dataset import ClipDataset
from maeum.data.mixup import mix
from maeum.data.sampler import BucketSampler
from maeum.types import MODALITIES, Batch, Clip


class AugmentConfig(Config):
    """How training clips vary; None leaves a modality as it is.

    drop_modality: probability with which each modality of a clip is withheld; one always stays.
    mixup: strength of the blend of two clips, see `mix`; 0 blends none.
    """

    faces: FaceAugment | None = None
    pieces: PieceAugment | None = None
    text: TextAugment | None = None
    drop_modality: float = 0.0
    mixup: float = Field(default=0.0, ge=0)


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
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) * 1_000_003 + number)
            batch = self.collate(self._vary([self.dataset[i] for i in indices], generator))
            mixup = self.augment.mixup
            yield mix(batch, self.dataset.label_set, mixup, generator) if mixup else batch

    def _vary(self, clips: list[Clip], generator: torch.Generator) -> list[Clip]:
        augment = self.augment
        if augment.drop_modality:
            clips = [self._withhold(clip, generator) for clip in clips]
        if augment.faces is not None:
            clips = _vary_faces(clips, augment.faces, generator)
        if augment.pieces is not None:
            varied = ((c, c.pieces) for c in clips)
            clips = [
                c if p is None or not len(p) else replace(c, pieces=augment_pieces(p, augment.pieces, generator))
                for c, p in varied
            ]
        if augment.text is not None:
            clips = [c if not c.text else replace(c, text=augment_text(c.text, augment.text, generator)) for c in clips]
        return clips

    def _withhold(self, clip: Clip, generator: torch.Generator) -> Clip:
        there = clip.modalities
        gone = [m for m in there if torch.rand((), generator=generator) < self.augment.drop_modality]
        if len(gone) == len(there) and gone:
            gone.pop(int(torch.randint(len(gone), (), generator=generator)))
        fields = {"faces": "faces", "speech": "pieces", "text": "text"}
        withheld: dict[str, Any] = {fields[m]: None for m in MODALITIES if m in gone}
        return replace(clip, **withheld)


def _vary_faces(clips: list[Clip], config: FaceAugment, generator: torch.Generator) -> list[Clip]:
    counts = [0 if c.faces is None else len(c.faces) for c in clips]
    if not sum(counts):
        return clips
    every = torch.cat([c.faces for c in clips if c.faces is not None])
    pieces = torch.split(augment_faces(every, config, generator), counts)
    return [replace(c, faces=f) if n else c for c, f, n in zip(clips, pieces, counts, strict=True)]
