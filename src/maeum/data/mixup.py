"""Blends of two clips of a batch, with targets blended alike (Zhang et al., "mixup", 2018)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.errors import ConfigError
from maeum.labels import LabelSet
from maeum.types import Batch


def mix(batch: Batch, label_set: LabelSet, strength: float, generator: torch.Generator) -> Batch:
    """Blend every clip with another one of the batch.

    A clip keeps its own length: where the other one is shorter, or lacks the modality, the clip stays as it is. The
    target is blended in the proportion in which the clip's frames and mel chunks really were.

    Args:
        batch: with targets; without words, which cannot be blended.
        label_set: what the targets mean.
        strength: both parameters of the beta distribution that a clip's share is drawn from; the share is at least
            one half, so that a blend is mostly the clip that it replaces.
        generator: where chance comes from.

    Returns:
        The batch with float faces and mel chunks; targets ``(batch, labels)`` are probabilities for a single-label
        set. A blend has a value on a scale where both clips have one.

    Raises:
        ConfigError: when the batch has words.
    """
    if batch.tokens is not None:
        raise ConfigError("mixup cannot blend words", remedy="Set augment.mixup to 0, or leave text out.")
    assert batch.target is not None
    count = len(batch)
    other = torch.randperm(count, generator=generator)
    share = _beta(strength, count, generator)
    share = torch.maximum(share, 1 - share)
    target = batch.target
    if label_set.task == "single-label":
        target = F.one_hot(target, len(label_set)).float()
    faces, own_faces = _blend(batch.faces, batch.faces_mask, share, other)
    mel_chunks, own_mel_chunks = _blend(batch.mel_chunks, batch.mel_chunks_mask, share, other)
    own_share = torch.stack((own_faces, own_mel_chunks)).nanmean(0).nan_to_num(1.0)[:, None]
    blended = torch.where(own_share < 1, own_share * target + (1 - own_share) * target[other], target)
    return replace(batch, faces=faces, mel_chunks=mel_chunks, target=blended)


def _blend(values: Tensor | None, mask: Tensor | None, share: Tensor, other: Tensor) -> tuple[Tensor | None, Tensor]:
    """``(batch, length, ...)`` blended where both clips are valid, and each clip's own part in it, ``(batch,)``.

    The part is NaN for a clip without the modality.
    """
    if values is None or mask is None:
        return values, torch.full_like(share, torch.nan)
    own = torch.where(mask & mask[other], share[:, None], 1.0)
    part = (own * mask).sum(1) / mask.sum(1)
    own = own.view(*mask.shape, *[1] * (values.ndim - 2))
    values = values.float()
    return own * values + (1 - own) * values[other], part


def _beta(strength: float, count: int, generator: torch.Generator) -> Tensor:
    """``(count,)`` draws from Beta(strength, strength), as a ratio of gamma draws."""
    gammas = torch._standard_gamma(torch.full((2, count), strength), generator=generator)
    return gammas[0] / gammas.sum(0).clamp(min=1e-12)
