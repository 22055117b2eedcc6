"""Area resizing by an integral image: any size of the whole or of a window costs a few look-ups per pixel.

In C++ where it can be compiled (`kernels`), else in NumPy.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from maeum.media.mtcnn.kernels import kernels

#: Where areas start and where they end (excluded), in whole pixels.
Edges = tuple[NDArray[np.int64], NDArray[np.int64]]

#: The three channels of a sum lie side by side in one 64-bit number, so that one look-up fetches a pixel.
_BITS = 21
_LANE = np.int32((1 << _BITS) - 1)
#: Pixels whose sum surely fits into a channel's bits. Sums over larger areas are put together from smaller ones.
_MOST_PX = (1 << _BITS) // 255


class IntegralImage:
    """Sums over rectangles of a picture; area resizing of the whole or of windows.

    A sum from the corner may run over its channel's bits into the next channel's, and over 64 bits: the difference
    over a rectangle, which is all that is used, comes out right if its own sums fit (arithmetic is modulo 2**64).
    """

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self.height, self.width = rgb.shape[:2]
        self._lib = kernels()
        #: Sums from the corner, ``(height + 1, width + 1)``.
        self.table = np.empty((self.height + 1, self.width + 1), np.int64)
        if self._lib is not None:
            rgb = np.ascontiguousarray(rgb)
            self._lib.maeum_sums(rgb.ctypes.data, self.height, self.width, self.table.ctypes.data)
        else:
            _sum_up(rgb, self.table)

    def resized(self, height: int, width: int) -> NDArray[np.float32]:
        """The picture at another size, float32 0..255, ``(height, width, 3)``, as adaptive average pooling makes it."""
        return self.means(*self.areas(height, width))

    def areas(
        self, height: int, width: int, rows: slice = slice(None), cols: slice = slice(None)
    ) -> tuple[Edges, Edges]:
        """Edges of the rows and columns that become a pixel each at another size, or of a part of these.

        Areas have whole-pixel edges and may share pixels with their neighbours.
        """
        (top, bottom), (left, right) = _area_edges(self.height, height), _area_edges(self.width, width)
        return (top[rows], bottom[rows]), (left[cols], right[cols])

    def means(self, rows: Edges, cols: Edges) -> NDArray[np.float32]:
        """Means of the areas of a grid, float32 0..255, ``(rows, columns, 3)``."""
        if self._lib is not None:
            grid = self._native_means(*(edge[None] for edge in (*rows, *cols)))
            return grid.reshape(grid.shape[1:])
        (top, bottom), (left, right) = rows, cols
        first, last = int(left[0]), int(right[-1])
        strip = self.table[:, first : last + 1]
        left, right = left - first, right - first
        area = ((1.0 / (bottom - top))[:, None] * (1.0 / (right - left))[None]).astype(np.float32)
        total: NDArray[np.float32] | None = None
        for upper, lower in _bands(top, bottom, int((right - left).max())):
            band = strip[lower]
            band -= strip[upper]
            sums = band.take(right, axis=1)
            sums -= band.take(left, axis=1)
            part = _channels(sums)
            total = part if total is None else total + part
        assert total is not None
        total *= area[..., None]
        return total

    def crops(self, frames: NDArray[np.int64], size_px: int) -> NDArray[np.float32]:
        """Windows ``(n, 4)`` (left, top, right, bottom, end excluded), each as ``(size, size, 3)``; empty is black."""
        left, right = _window_edges(frames[:, 0], frames[:, 2], size_px)
        top, bottom = _window_edges(frames[:, 1], frames[:, 3], size_px)
        if self._lib is not None:
            return self._native_means(top, bottom, left, right)
        stride = self.width + 1
        flat = self.table.reshape(-1)
        total: NDArray[np.float32] | None = None
        for upper, lower in _bands(top, bottom, int((right - left).max(initial=1))):
            above, below = (upper * stride)[:, :, None], (lower * stride)[:, :, None]
            sums = flat.take(below + right[:, None])
            sums -= flat.take(below + left[:, None])
            sums -= flat.take(above + right[:, None])
            sums += flat.take(above + left[:, None])
            part = _channels(sums)
            total = part if total is None else total + part
        assert total is not None
        area = (bottom - top)[:, :, None] * (right - left)[:, None]
        total /= np.maximum(area, 1).astype(np.float32)[..., None]
        return total

    def _native_means(self, *edges: NDArray[np.int64]) -> NDArray[np.float32]:
        """Means in n grids; edges ``(n, size)`` of tops, bottoms, lefts and rights."""
        assert self._lib is not None
        edges = tuple(map(np.ascontiguousarray, edges))
        top, _, left, _ = edges
        made = np.empty((*top.shape, left.shape[1], 3), np.float32)
        self._lib.maeum_means(
            self.table.ctypes.data, self.table.shape[1], *(edge.ctypes.data for edge in edges), *made.shape[:3],
            made.ctypes.data,
        )  # fmt: skip
        return made


def _sum_up(rgb: NDArray[np.uint8], sums: NDArray[np.int64]) -> None:
    """Sums from the corner."""
    sums[0] = sums[:, 0] = 0
    inner = sums[1:, 1:]
    inner[:] = rgb[..., 2]
    for channel in (1, 0):
        inner <<= _BITS
        inner += rgb[..., channel]
    np.cumsum(inner, axis=1, out=inner)
    for row in range(2, len(sums)):
        sums[row] += sums[row - 1]


def _bands(
    top: NDArray[np.int64], bottom: NDArray[np.int64], widest: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows of areas (from ``top``, to ``bottom`` excluded) in bands whose sums fit, for areas up to so wide."""
    height = bottom - top
    tallest = max(1, _MOST_PX // max(1, widest))
    count = max(1, -(-int(height.max(initial=1)) // tallest))
    edges = [top + height * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def _channels(sums: NDArray[np.int64]) -> NDArray[np.float32]:
    """Sums ``(...)`` as their channels, ``(..., 3)``."""
    channels = np.empty((*sums.shape, 3), np.float32)
    channels[..., 0] = sums.astype(np.int32) & _LANE
    for channel in (1, 2):
        channels[..., channel] = (sums >> (channel * _BITS)).astype(np.int32) & _LANE
    return channels


def _area_edges(size: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of ``wanted`` output pixels starts and ends in ``size`` input pixels; neighbours may share one."""
    steps = np.arange(wanted + 1, dtype=np.int64) * size
    return steps[:-1] // wanted, -(-steps[1:] // wanted)


def _window_edges(
    start: NDArray[np.int64], end: NDArray[np.int64], wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    size = np.maximum(end - start, 0)[:, None]
    start = np.where(end > start, start, 0)[:, None]
    steps = np.arange(wanted + 1, dtype=np.int64)[None] * size
    return start + steps[:, :-1] // wanted, start - (-steps[:, 1:] // wanted)
