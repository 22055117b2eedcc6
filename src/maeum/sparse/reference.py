"""The sparse operators, as plain PyTorch over dense maps and masks: what every faster form is held to.

Maps are ``(n, channels, height, width)``; a mask ``(n, height, width)`` is True at active sites. Maps are zero at
inactive sites on the way in and out. Nothing here loops over samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attention_scores(maps: Tensor, w_map: Tensor, bias: Tensor, w: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scores ``s_j = w . tanh(scale * (W f_j + b) + shift)``, where a query decides on scale and shift.

    With scale 1 and shift ``W_q q`` that is additive attention (Dai et al. 2021, equation of section 3.3). A constant
    added to ``s`` would not change the softmax over positions, so there is none.

    Args:
        maps: ``(n, channels, height, width)``.
        w_map: ``(hidden, channels)``.
        bias: ``(hidden,)``.
        w: ``(hidden,)``.
        scale: ``(n, hidden)``, or broadcast to it.
        shift: likewise.

    Returns:
        ``(n, height, width)``.
    """
    hidden = F.conv2d(maps, w_map[:, :, None, None], bias)
    # Not in bf16, whose coarse sums make many positions equal, among which the first would always be selected.
    wide = torch.promote_types(hidden.dtype, torch.float32)
    hidden = hidden.to(wide) * scale[:, :, None, None].to(wide) + shift[:, :, None, None].to(wide)
    return (hidden.tanh() * w.to(wide)[:, None, None]).sum(1)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the active positions of each map; zero elsewhere, and everywhere when none is active.

    Args:
        scores: ``(n, height, width)``.
        mask: ``(n, height, width)`` bool.
    """
    flat = scores.masked_fill(~mask, -torch.inf).flatten(1)
    flat = torch.where(mask.flatten(1).any(1, keepdim=True), flat, 0.0)
    return flat.softmax(1).view_as(scores) * mask


def top_p_mask(probs: Tensor, mask: Tensor, p: float, preference: Tensor | None = None) -> Tensor:
    """Nucleus: the fewest most probable active positions whose mass reaches p, including the one that crosses p.

    Args:
        probs: ``(n, height, width)``, summing to 1 over each map's active positions.
        mask: ``(n, height, width)`` bool, the active positions.
        p: 0 < p <= 1; at 1 every active position stays, at least one always does.
        preference: ``(height, width)``, positive: positions are taken in the order of their probability times this.

    Returns:
        ``(n, height, width)`` bool. Equal probabilities are taken in the order of their position.
    """
    if p >= 1:
        return mask
    probs = probs.detach()
    wanted = probs if preference is None else probs * preference
    order = torch.sort(torch.where(mask, wanted, -1.0).flatten(1), dim=1, descending=True, stable=True)[1]
    ordered = torch.where(mask, probs, 0.0).flatten(1).gather(1, order)
    mass_before = ordered.cumsum(1) - ordered
    selected = (mass_before < p) & mask.flatten(1).gather(1, order)
    return torch.zeros_like(selected).scatter(1, order, selected).view_as(mask)


def most(scores: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
    """The active positions with the highest scores: so many of each map, or all where fewer are active.

    Args:
        scores: ``(n, height, width)``.
        mask: ``(n, height, width)`` bool, the active positions.
        counts: ``(n,)``.

    Returns:
        ``(n, height, width)`` bool. Equal scores are taken in the order of their position.
    """
    flat = scores.detach().masked_fill(~mask, -torch.inf).flatten(1)
    order = torch.sort(flat, dim=1, descending=True, stable=True)[1]
    first = torch.arange(flat.shape[1], device=flat.device) < counts.unsqueeze(1)
    return torch.zeros_like(first).scatter(1, order, first).view_as(mask) & mask


def submanifold_conv2d(maps: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """3x3 (or any odd) convolution whose active sites stay the same (Graham et al. 2018).

    Args:
        maps: ``(n, in, height, width)``, zero where inactive.
        mask: ``(n, height, width)`` bool.
        weight: ``(out, in, k, k)``.

    Returns:
        ``(n, out, height, width)``, zero where inactive.
    """
    return F.conv2d(maps, weight, padding=weight.shape[-1] // 2) * mask.unsqueeze(1)


def sparse_batch_norm(
    maps: Tensor,
    mask: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-4,
) -> Tensor:
    """Batch norm over active sites alone; zero elsewhere. Fewer than two sites are normalised by the running values."""
    sample, row, col = mask.nonzero(as_tuple=True)
    features = maps[sample, :, row, col]
    features = F.batch_norm(
        features, running_mean, running_var, weight, bias, training and len(features) > 1, momentum, eps
    )
    out = torch.zeros_like(maps, dtype=features.dtype)
    out[sample, :, row, col] = features
    return out


def sparse_max_pool2d(maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Max-pool 2x2: a site is active where any of its inputs is, and takes the largest of those that are.

    Returns:
        Maps ``(n, channels, height // 2, width // 2)`` and their mask.
    """
    pooled_mask = F.max_pool2d(mask.unsqueeze(1).to(maps.dtype), 2)[:, 0] > 0
    lowest = torch.finfo(maps.dtype).min
    pooled = F.max_pool2d(maps.masked_fill(~mask.unsqueeze(1), lowest), 2)
    return pooled.masked_fill(~pooled_mask.unsqueeze(1), 0.0), pooled_mask
