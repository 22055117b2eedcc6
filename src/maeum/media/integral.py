"""Area resizing by an integral image: any size of the whole or of a window costs a few look-ups per pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class IntegralImage:
    """Sums over rectangles of a picture; area resizing of the whole or of windows."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self.height, self.width = rgb.shape[:2]
        # 32 bits may overflow in the sums, never in a difference over one window: arithmetic is modulo 2**32.
        # A fourth channel makes a pixel 16 bytes, which NumPy picks up as one number (``_whole``).
        sums = np.zeros((self.height + 1, self.width + 1, 4), np.int32)
        sums[1:, 1:, :3] = np.cumsum(rgb, axis=1, dtype=np.int32)
        for row in range(2, self.height + 1):
            sums[row] += sums[row - 1]
        self._sums = sums
        self._whole = sums.view(np.complex128)[..., 0]  # (height + 1, width + 1)

    def resized(
        self, height: int, width: int, rows: slice = slice(None), cols: slice = slice(None)
    ) -> NDArray[np.float32]:
        """The picture at another size, or the given rows and columns of that, float32 0..255.

        Each pixel is the mean of its area, as in adaptive average pooling: areas have whole-pixel edges and may share
        pixels with their neighbours.

        Returns:
            ``(height, width, 3)``, or the part of it.
        """
        top, bottom = (edge[rows] for edge in _area_edges(self.height, height))
        left, right = (edge[cols] for edge in _area_edges(self.width, width))
        first, last = int(left[0]), int(right[-1])
        strip = self._sums[:, first : last + 1]
        sums_of_rows = (strip[bottom] - strip[top]).view(np.complex128)[..., 0]
        sums = _parts(np.take(sums_of_rows, right - first, axis=1))
        sums -= _parts(np.take(sums_of_rows, left - first, axis=1))
        per_row, per_col = 1.0 / (bottom - top), 1.0 / (right - left)
        area = (per_row[:, None] * per_col[None]).astype(np.float32)
        level: NDArray[np.float32] = sums[..., :3].astype(np.float32)
        level *= area[..., None]
        return level

    def crops(self, frames: NDArray[np.int64], size_px: int) -> NDArray[np.float32]:
        """Windows ``(n, 4)`` (left, top, right, bottom, end excluded), each as ``(size, size, 3)``; empty is black."""
        left, right = _window_edges(frames[:, 0], frames[:, 2], size_px)
        top, bottom = _window_edges(frames[:, 1], frames[:, 3], size_px)
        stride = self.width + 1
        flat = self._whole.reshape(-1)
        upper, lower = (top * stride)[:, :, None], (bottom * stride)[:, :, None]
        sums = _parts(flat[lower + right[:, None]])
        sums -= _parts(flat[lower + left[:, None]])
        sums -= _parts(flat[upper + right[:, None]])
        sums += _parts(flat[upper + left[:, None]])
        area = (bottom - top)[:, :, None] * (right - left)[:, None]
        crops: NDArray[np.float32] = sums[..., :3].astype(np.float32)
        crops /= np.maximum(area, 1).astype(np.float32)[..., None]
        return crops


def _parts(whole: NDArray[np.complex128]) -> NDArray[np.int32]:
    """Pixels that were moved as one number each, ``(...)``, as sums of their channels, ``(..., 4)``."""
    return whole[..., None].view(np.int32)


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
