"""P-Net over the pyramid of successive frames, where something is to be seen and has changed.

Two observations save work on recordings of people before a still background. A window without contrast holds
no face; and P-Net's answer about a window whose pixels are as they were when it last looked is the answer it gave then.
Both are decided on means of 4x4 pixels of the pyramid level, for tiles of 16x16 windows. Proposals of unchanged tiles
are only starting points: R-Net and O-Net judge them on the new frame's pixels.

The two finest levels are three quarters of the work, and only they show faces of less than twice the smallest size. On
request they are looked at only near given places (`mtcnn_fast` says which).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from maeum.media.boxes import Boxes, moved, squared, suppress
from maeum.media.mtcnn.bodies import ArrangedBody
from maeum.media.mtcnn.integral import Edges, IntegralImage
from maeum.media.mtcnn.kernels import kernels
from maeum.media.mtcnn.native import NativeProposer
from maeum.media.mtcnn.networks import ProposalNet
from maeum.media.mtcnn.reference import CELL_PX, STRIDE_PX, THRESHOLDS, cell_boxes, pyramid_scales

#: Windows per side of a tile; what a tile's windows see beyond the tile, in pixels of the level.
_TILE, _BORDER_PX = 16, CELL_PX - STRIDE_PX
#: Pixels of the level that P-Net sees at a time, about: its maps then stay in the cache. In C++ they do by themselves.
_PART_PX, _WHOLE_PX = 16_000, 1 << 40
#: The logit of the certainty from which P-Net's windows are proposals.
_LEAST_LOGIT = float(np.log(THRESHOLDS[0] / (1 - THRESHOLDS[0])))
#: Pixels of the level per block, on whose means contrast and change are decided.
_BLOCK_PX = 4
_BLOCKS_PER_TILE = _TILE * STRIDE_PX // _BLOCK_PX
_BORDER_BLOCKS = -(-_BORDER_PX // _BLOCK_PX)
#: Differences of block means, in grey levels 0..255: neighbours in a picture; the same block in successive frames.
#: The faintest of 186 faces found at full resolution in real videos has a contrast of 21.
_CONTRAST, _CHANGE = 8.0, 4.0
#: Levels that may be looked at in places only: the finest ones.
_FINE_LEVELS = 2
#: Sides of faces that a level shows, as multiples of its window; and how far a face may have moved, in sides.
_SIDES, _MOVE = (0.5, 2.0), 1.0

_NO_BLOCKS, _NO_WINDOWS = np.zeros((0, 0, 3), np.float32), np.zeros((0, 8), np.float32)


@dataclass(frozen=True)
class LevelMemory:
    """What is known of one pyramid level.

    blocks: as they were when last looked at, ``(rows, columns, 3)``. windows: found there, ``(n, 8)``: number of the
    frame, row, column, score, box offsets; in this order.
    """

    blocks: NDArray[np.float32]
    windows: NDArray[np.float32]


#: What a look at a frame leaves for looks at later frames of its scene: what is known of each level, finest first.
Memory = Sequence[LevelMemory]


class Proposer:
    """P-Net arranged for speed."""

    def __init__(self, net: ProposalNet) -> None:
        lib = kernels()
        self._windows: _Windows = _TorchWindows(net) if lib is None else NativeProposer(lib, net, _LEAST_LOGIT)
        #: Pixels of the level that are looked at in one go, about.
        self._part_px = _PART_PX if lib is None else _WHOLE_PX

    def __call__(
        self, pictures: Sequence[IntegralImage], min_face_px: float, known: Memory = (), near: Boxes | None = None
    ) -> tuple[list[Boxes], Memory]:
        """Square proposals ``(n, 4)`` of frames of one size, and what to remember of them.

        Args:
            pictures: the frames; looked at together, so wherever one of them has changed.
            min_face_px: smallest face looked for.
            known: of a frame of the same size before; nothing when empty.
            near: faces ``(n, 4)`` of other frames, near which alone small ones are looked for; None is everywhere.

        Returns:
            The proposals of each frame; what is known now, when it was a single frame that was looked at everywhere.
        """
        first = pictures[0]
        found, scores, frames, memory = [], [], [], []
        for number, scale in enumerate(pyramid_scales(first.width, first.height, min_face_px)):
            places = None if near is None or number >= _FINE_LEVELS else _starts(near, scale)
            level = self._level(pictures, scale, known[number] if known else None, places)
            memory.append(level)
            windows, frame = level.windows, level.windows[:, 0].astype(int)
            cells, score = cell_boxes(windows[:, 1], windows[:, 2], scale), windows[:, 3]
            keep = suppress(cells, score, frame, 0.5)
            found.append(np.concatenate((cells[keep], windows[keep, 4:]), 1))
            scores.append(score[keep])
            frames.append(frame[keep])
        if not found:
            return [np.zeros((0, 4), np.float32) for _ in pictures], ()
        proposals, score, frame = np.concatenate(found), np.concatenate(scores), np.concatenate(frames)
        keep = suppress(proposals[:, :4], score, frame, 0.7)
        boxes = squared(moved(proposals[keep, :4], proposals[keep, 4:], 0.0))
        remembered = memory if near is None and len(pictures) == 1 else ()
        return [boxes[frame[keep] == i] for i in range(len(pictures))], remembered

    def _level(
        self,
        pictures: Sequence[IntegralImage],
        scale: float,
        known: LevelMemory | None,
        places: NDArray[np.float32] | None,
    ) -> LevelMemory:
        """One level, looked at where it may show faces and is not as it is known.

        With ``places`` (first and last row and column of windows, ``(n, 4)``) only tiles there count.
        """
        height, width = int(pictures[0].height * scale + 1), int(pictures[0].width * scale + 1)
        if places is not None and not len(places):
            return LevelMemory(_NO_BLOCKS, _NO_WINDOWS)
        blocks = np.stack([p.resized(-(-height // _BLOCK_PX), -(-width // _BLOCK_PX)) for p in pictures])
        look = _tiles(_contrast(blocks), height, width)
        if known is None:
            stale, now = np.ones_like(look), blocks[0]
        else:
            changed = (np.abs(blocks - known.blocks) > _CHANGE).any(-1)
            stale = _tiles(changed.any(0), height, width)
            now = np.where(changed[0, ..., None], blocks[0], known.blocks)
        still = ~stale
        if places is not None:
            near = _near(places, look.shape)
            look, still = look & near, still & near
        parts = [self._answers(pictures, height, width, run) for run in _rectangles(look & stale, self._part_px)]
        if known is not None:
            tile_of = (known.windows[:, 1:3] // _TILE).astype(int)
            unchanged = known.windows[still[tile_of[:, 0], tile_of[:, 1]]]
            for frame in range(len(pictures)):
                parts.append(unchanged.copy())
                parts[-1][:, 0] = frame
        windows = np.concatenate(parts) if parts else _NO_WINDOWS
        return LevelMemory(now, windows[np.lexsort((windows[:, 2], windows[:, 1], windows[:, 0]))])

    def _answers(
        self, pictures: Sequence[IntegralImage], height: int, width: int, run: tuple[int, int, int, int]
    ) -> NDArray[np.float32]:
        """Windows with faces in a rectangle of tiles: top, bottom (excluded), first column, last column (excluded)."""
        top, bottom, first, last = run
        step = _TILE * STRIDE_PX
        rows = slice(top * step, min(height, bottom * step + _BORDER_PX))
        cols = slice(first * step, min(width, last * step + _BORDER_PX))
        found = []
        for frame, picture in enumerate(pictures):
            windows = self._windows(picture, *picture.areas(height, width, rows, cols))
            y, x, logit = windows[:, 0] + top * _TILE, windows[:, 1] + first * _TILE, windows[:, 2]
            place = np.stack((np.full_like(y, frame), y, x, 1 / (1 + np.exp(-logit))), 1)
            found.append(np.concatenate((place, windows[:, 3:]), 1))
        return np.concatenate(found)


def _contrast(blocks: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Blocks ``(frames, rows, columns, 3)`` that differ from their right or lower neighbour, in any of the frames."""
    busy = np.zeros(blocks.shape[1:3], bool)
    busy[:, :-1] |= (np.abs(blocks[:, :, 1:] - blocks[:, :, :-1]) > _CONTRAST).any((0, -1))
    busy[:-1] |= (np.abs(blocks[:, 1:] - blocks[:, :-1]) > _CONTRAST).any((0, -1))
    return busy


def _tiles(blocks: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Which tiles see a marked block. A tile sees its own blocks and a border below and to the right."""
    rows, cols = (-(-max(1, (size - _BORDER_PX + 1) // STRIDE_PX) // _TILE) for size in (height, width))
    reach = _BLOCKS_PER_TILE + _BORDER_BLOCKS
    # blocks are placed evenly over the level, so their edges are up to one block off
    sums = np.zeros((blocks.shape[0] + 1, blocks.shape[1] + 1), np.int32)
    np.cumsum(np.cumsum(blocks, 0, dtype=np.int32), 1, out=sums[1:, 1:])
    (top, bottom), (left, right) = (
        (np.clip(start - 1, 0, size), np.clip(start + reach + 1, 0, size))
        for start, size in zip((np.arange(n) * _BLOCKS_PER_TILE for n in (rows, cols)), blocks.shape, strict=True)
    )
    return np.asarray(
        sums[bottom[:, None], right] + sums[top[:, None], left]
        > sums[top[:, None], right] + sums[bottom[:, None], left]
    )


def _starts(faces: Boxes, scale: float) -> NDArray[np.float32]:
    """Where windows of a level may start that show faces moved a little: first and last row and column, ``(n, 4)``."""
    side = np.maximum(faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1])
    window = CELL_PX / scale
    shown = (side >= _SIDES[0] * window) & (side <= _SIDES[1] * window)
    left, top, side = faces[shown, 0], faces[shown, 1], side[shown] * _MOVE
    starts = np.stack((top - side, top + side, left - side, left + side), 1) * scale / STRIDE_PX
    return starts.astype(np.float32)


def _near(places: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Tiles that hold one of the windows."""
    near = np.zeros(shape, bool)
    for top, bottom, first, last in np.maximum(places // _TILE, 0).astype(int).tolist():
        near[top : bottom + 1, first : last + 1] = True
    return near


def _rectangles(tiles: NDArray[np.bool_], part_px: int) -> list[tuple[int, int, int, int]]:
    """Marked tiles as rectangles of about ``part_px`` at most: top, bottom, first and last column, ends excluded."""
    most = max(1, part_px // (_TILE * STRIDE_PX) ** 2)
    done: list[tuple[int, int, int, int]] = []
    growing: dict[tuple[int, int], int] = {}  # columns of a rectangle -> its top
    for row, marked in enumerate(np.concatenate((tiles, np.zeros_like(tiles[:1])))):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], marked.astype(np.int8), [0]))))
        runs = set(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
        for columns in [c for c in growing if c not in runs or (row - growing[c] + 1) * (c[1] - c[0]) > most]:
            done.append((growing.pop(columns), row, *columns))
        for columns in runs:
            growing.setdefault(columns, row)
    return done


class _Windows(Protocol):
    """P-Net on a part of a level: row, column, logit and four box offsets of windows with faces, ``(n, 7)``."""

    def __call__(self, picture: IntegralImage, rows: Edges, cols: Edges) -> NDArray[np.float32]: ...


class _TorchWindows:
    """P-Net in PyTorch."""

    def __init__(self, net: ProposalNet) -> None:
        assert net.face.bias is not None
        self._body = ArrangedBody(net.body, (16, 16, 32))
        self._face = (net.face.weight[1] - net.face.weight[0]).flatten()
        self._face_bias = float(net.face.bias[1] - net.face.bias[0])
        self._offsets = net.offsets.weight.flatten(1), net.offsets.bias

    def __call__(self, picture: IntegralImage, rows: Edges, cols: Edges) -> NDArray[np.float32]:
        """See `_Windows`."""
        sites = self._body(picture.means(rows, cols)[None])[0]
        logits = sites @ self._face + self._face_bias
        y, x = (logits >= _LEAST_LOGIT).nonzero(as_tuple=True)
        offsets = functional.linear(sites[y, x], *self._offsets)
        return torch.cat((torch.stack((y, x, logits[y, x]), 1), offsets), 1).numpy()
