"""Late fusion: each modality's logits, weighted and added; and how much each of them counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from maeum.types import Modality


def weigh(weight: Tensor, modalities: Sequence[Modality], logits: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
    """What each modality adds to the fused logits.

    Args:
        weight: of each of ``modalities``, ``(modalities,)``.
        modalities: in the order of their weights.
        logits: each ``(batch, labels)``; a modality that no clip has may be absent.

    Returns:
        ``(batch, labels)`` each.
    """
    return {m: weight[i] * logits[m] for i, m in enumerate(modalities) if m in logits}


def add_up(contributions: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> Tensor:
    """Sum over the modalities that each clip has.

    Args:
        contributions: ``(batch, labels)`` each, at least one.
        present: which clips have that modality, ``(batch,)`` bool.

    Returns:
        ``(batch, labels)``; zeros for a clip without any.
    """
    terms = [logits * present[m].unsqueeze(1).to(logits.dtype) for m, logits in contributions.items()]
    return torch.stack(terms).sum(0)


def shares(
    contributions: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor], *, scales: bool
) -> dict[Modality, Tensor]:
    """How much each modality counts: its part of the sum of absolute contributions.

    Logits of labels are centred first, as adding the same to all of them changes no probability; values on scales are
    not, as 0 is their middle.

    Args:
        contributions: ``(batch, labels)`` each, at least one.
        present: which clips have that modality, ``(batch,)`` bool.
        scales: whether these are values on scales.

    Returns:
        ``(batch,)`` each, 0 where a clip lacks the modality; those of a clip sum to 1, of a clip without any to 0.
    """
    strength: dict[Modality, Tensor] = {}
    for modality, logits in contributions.items():
        centred = logits if scales else logits - logits.mean(1, keepdim=True)
        strength[modality] = centred.abs().sum(1) * present[modality]
    total = torch.stack(list(strength.values())).sum(0).clamp(min=1e-12)
    return {modality: one / total for modality, one in strength.items()}
