"""Faces and mel chunks as the maps that CNNs read: shapes, normalisation, views of a face."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

#: Mean and standard deviation of the published face normalisation, RGB, 0..255.
FACE_MEAN = (159.0, 111.0, 102.0)
FACE_STD = (37.0, 33.0, 32.0)
#: Weights of red, green and blue in luminance (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
#: A decibel of power in natural logarithm.
NATURAL_PER_DB = 0.2302585
#: Frames whose loudest bin is within this of the utterance's count as loud (30 dB).
LOUD_RANGE = 30 * NATURAL_PER_DB
#: How a branch normalises its maps; see `maeum.models.branches.BranchConfig.norm`.
Norm = Literal["published", "each", "bands", "both"]


def normalise_faces(faces: Tensor, norm: Norm, *, grey: bool = False) -> Tensor:
    """Faces ``(n, 3, h, w)``, 0..255, as a CNN reads them: ``(n, 1 or 3, h, w)`` float.

    Args:
        faces: RGB.
        norm: ``each`` standardises every face by itself; else by the published mean and deviation.
        grey: read their luminance alone.
    """
    maps = faces.float()
    if grey:
        maps = (maps * maps.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if norm == "each":
        std, mean = torch.std_mean(maps, dim=(1, 2, 3), keepdim=True)
        return (maps - mean) / (std + 1.0)
    mean, std = maps.new_tensor(FACE_MEAN), maps.new_tensor(FACE_STD)
    if grey:
        mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
    return (maps - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def zoomed(maps: Tensor, zoom: float) -> Tensor:
    """Maps ``(n, channels, h, w)`` enlarged around their centre; what is missing at the edges is reflected."""
    theta = maps.new_tensor([[1 / zoom, 0, 0], [0, 1 / zoom, 0]]).expand(len(maps), 2, 3)
    grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, padding_mode="reflection", align_corners=False)


def frame_levels(mel_chunks: Tensor, owner: Tensor, owners: int) -> tuple[Tensor, Tensor]:
    """Loudness of valid mel chunks ``(n, 1, 128, 32)`` of utterances ``owner (n,)``.

    Returns:
        Each frame's loudest bin relative to the utterance's, ``(n, 1, 1, 32)``, at most 0 (natural log of power), and
        the utterances' loudest bins, ``(owners,)``.
    """
    frames = mel_chunks.amax(2, keepdim=True)
    loudest = frames.new_full((owners,), -torch.inf).scatter_reduce(0, owner, frames.amax((1, 2, 3)), "amax")
    return frames - loudest[owner].view(-1, 1, 1, 1), loudest


def audible_mel_chunks(mel_chunks: Tensor, owner: Tensor, owners: int, silence_db: float) -> Tensor:
    """Which mel chunks have a frame within ``silence_db`` of their utterance's loudest one, ``(n,)`` bool.

    Every utterance keeps at least the mel chunk that holds its loudest frame.

    Args:
        mel_chunks: the valid ones, ``(n, 1, 128, 32)``, natural log of power.
        owner: which utterance each belongs to, ``(n,)``.
        owners: how many utterances there are.
        silence_db: decibels below the loudest frame.
    """
    levels, _ = frame_levels(mel_chunks.float(), owner, owners)
    return levels.amax((1, 2, 3)) >= -silence_db * NATURAL_PER_DB


def normalise_mel_chunks(
    mel_chunks: Tensor,
    owner: Tensor,
    owners: int,
    norm: Norm,
    *,
    range_db: float = 80.0,
    shrink: tuple[int, int] = (1, 1),
) -> Tensor:
    """Mel chunks as a CNN reads them.

    Statistics are of each utterance's own valid mel chunks, so neither its neighbours in the batch nor padding matter.
    Frames at the floor, such as those that fill up an utterance's last mel chunk, take no part in a band's mean.

    Args:
        mel_chunks: the valid ones, ``(n, 1, 128, 32)``, natural log of power.
        owner: which utterance each belongs to, ``(n,)``.
        owners: how many utterances there are.
        norm: see `maeum.models.branches.BranchConfig`.
        range_db: what is further below the utterance's loudest bin is floor; not for ``published``.
        shrink: so many mel bands and frames are averaged into one.

    Returns:
        ``(n, 1 or 2, 128 / shrink[0], 32 / shrink[1])``.
    """
    maps = mel_chunks.float()
    if norm != "published":
        levels, loudest = frame_levels(maps, owner, owners)
        span = range_db * NATURAL_PER_DB
        relative = (maps - loudest[owner].view(-1, 1, 1, 1)).clamp(min=-span)
        each = relative / (span / 4) + 2.0
        maps = each
        if norm in ("bands", "both"):
            bands = relative - band_means(relative, levels > -LOUD_RANGE, owner, owners)[owner].view(-1, 1, 128, 1)
            bands = bands / (span / 8)
            maps = bands if norm == "bands" else torch.cat((each, bands), 1)
    return F.avg_pool2d(maps, shrink) if shrink != (1, 1) else maps


def band_means(maps: Tensor, loud: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Mean of each mel band over an utterance's loud frames.

    Args:
        maps: ``(n, 1, bands, frames)``.
        loud: ``(n, 1, 1, frames)`` bool.
        owner: ``(n,)``, which utterance each mel chunk belongs to.
        owners: how many utterances there are.

    Returns:
        ``(owners, bands)``.
    """
    total = maps.new_zeros(owners, maps.shape[2]).index_add(0, owner, (maps * loud).sum((1, 3)))
    count = maps.new_zeros(owners).index_add(0, owner, loud.to(maps.dtype).sum((1, 2, 3)))
    return total / count.clamp(min=1).unsqueeze(1)
