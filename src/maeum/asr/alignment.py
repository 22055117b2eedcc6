"""When each recognised token is spoken: the path of the decoder's attention over the sound."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

#: Attention is smoothed over so many steps of 20 ms.
_MEDIAN = 7


def token_steps(attention: Tensor) -> list[int]:
    """The step at which each token begins.

    Radford et al. 2023 publish the method with their code: attention of the heads that follow the sound, normalised
    over the tokens, smoothed, averaged, and the cheapest monotonic path through it (dynamic time warping).

    Args:
        attention: ``(heads, tokens, steps)``, a softmax over the steps.

    Returns:
        For each token a step, ascending.
    """
    deviation, mean = torch.std_mean(attention, dim=1, keepdim=True, correction=0)
    normal = (attention - mean) / deviation.clamp(min=1e-8)
    half = _MEDIAN // 2
    if normal.shape[2] > half:
        normal = F.pad(normal, (half, half), mode="reflect").unfold(2, _MEDIAN, 1).median(-1).values
    return _warped(-normal.mean(0).double().numpy())


def _warped(cost: NDArray[np.float64]) -> list[int]:
    """The first column of each row on the cheapest path from corner to corner; ``(rows, columns)``."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for diagonal in range(2, rows + columns + 1):  # all cells of one depend on those before it only
        row = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        column = diagonal - row
        before = np.minimum(total[row - 1, column - 1], np.minimum(total[row - 1, column], total[row, column - 1]))
        total[row, column] = cost[row - 1, column - 1] + before
    first = [0] * rows
    row, column = rows, columns
    while row > 0 and column > 0:
        first[row - 1] = column - 1
        moves = (total[row - 1, column - 1], total[row - 1, column], total[row, column - 1])
        move = int(np.argmin(moves))
        row, column = row - (move != 2), column - (move != 1)
    return first
