"""Features by fixed rules, nothing learned: gradients of a face, statistics of a stretch of speech."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.media.shapes import MEL_CHUNK_SHAPE
from maeum.models.maps import NATURAL_PER_DB, frame_levels

CELL_PX = 8
ORIENTATIONS = 9
#: Length of `hog` of a face of 48x48.
HOG_WIDTH = 5 * 5 * 4 * ORIENTATIONS
_EPS = 1e-5


def hog(grey: Tensor) -> Tensor:
    """Histograms of oriented gradients (Dalal and Triggs 2005): cells of 8x8 px, 9 orientations, blocks of 2x2 cells.

    Central differences, each pixel counted in one orientation by its magnitude, blocks normalised by L2-Hys: what
    scikit-image's ``hog(grey, 9, (8, 8), (2, 2), "L2-Hys")`` gives.

    Args:
        grey: ``(n, h, w)`` float; h and w are multiples of 8, at least 16.

    Returns:
        ``(n, (h / 8 - 1) * (w / 8 - 1) * 36)``, 0..1.
    """
    n, height, width = grey.shape
    down, right = torch.zeros_like(grey), torch.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    angle = torch.atan2(down, right) % math.pi
    bins = (angle * (ORIENTATIONS / math.pi)).long().clamp(max=ORIENTATIONS - 1)
    votes = grey.new_zeros(n, ORIENTATIONS, height, width)
    votes.scatter_(1, bins.unsqueeze(1), torch.hypot(down, right).unsqueeze(1))
    cells = F.avg_pool2d(votes, CELL_PX)
    blocks = cells.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 4, 5, 1).flatten(3)  # (n, rows, columns, 36)
    blocks = (blocks / (blocks.square().sum(3, keepdim=True) + _EPS**2).sqrt()).clamp(max=0.2)
    return (blocks / (blocks.square().sum(3, keepdim=True) + _EPS**2).sqrt()).flatten(1)


def mel_statistics(
    mel_chunks: Tensor, owner: Tensor, owners: int, *, bands: int, frames: int, range_db: float
) -> tuple[Tensor, Tensor]:
    """Mean and deviation over time of log-mel relative to the utterance's loudest bin.

    Args:
        mel_chunks: valid log-mel chunks, ``(n, 1, 128, 32)``, natural log of power.
        owner: which utterance each belongs to, ``(n,)``.
        owners: how many utterances there are.
        bands: as many are left after neighbouring mel bands are averaged; divides 128.
        frames: of 12.5 ms, in one step; divides 32.
        range_db: what is further below the loudest bin is floor.

    Returns:
        ``(n, 32 / frames, 2 * bands)``, means from -2 to 2 and then deviations on the same scale; and the level of each
        step's loudest bin relative to the utterance's, ``(n, 32 / frames)``, at most 0, in dB.
    """
    rows, columns = MEL_CHUNK_SHAPE
    maps = mel_chunks.float()
    levels, loudest = frame_levels(maps, owner, owners)
    span = range_db * NATURAL_PER_DB
    relative = (maps - loudest[owner].view(-1, 1, 1, 1)).clamp(min=-span) / (span / 4) + 2.0
    steps = relative.view(-1, bands, rows // bands, columns // frames, frames).mean(2)  # (n, bands, steps, frames)
    deviation, mean = torch.std_mean(steps, dim=3, correction=0)
    level = levels.view(-1, columns // frames, frames).amax(2) / NATURAL_PER_DB
    return torch.cat((mean, deviation), 1).transpose(1, 2), level
