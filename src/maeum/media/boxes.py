"""Face boxes and their arithmetic: overlap, suppression of doubles, squares; ``(n, 4)``: left, top, right, bottom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]

#: Boxes that suppression compares with all others at a time.
_BLOCK = 64


@dataclass(frozen=True)
class FaceBox:
    """Where a face is, in pixels of its frame; it may reach beyond the frame's edge.

    confidence: 0..1. landmarks: left eye, right eye, nose, left and right corner of the mouth (as seen), each (x, y).
    """

    left: float
    top: float
    right: float
    bottom: float
    confidence: float = 1.0
    landmarks: tuple[tuple[float, float], ...] = ()

    @property
    def width(self) -> float:
        """Right minus left."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Bottom minus top."""
        return self.bottom - self.top

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom


def iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every pair: ``(n, 4)`` and ``(m, 4)`` -> ``(n, m)``."""
    a, b = np.asarray(a, np.float64).reshape(-1, 4), np.asarray(b, np.float64).reshape(-1, 4)
    inner = _intersection(a[:, None], b[None], 0.0)
    union = _area(a, 0.0)[:, None] + _area(b, 0.0)[None] - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def suppress(
    boxes: Boxes, scores: NDArray[np.float32], groups: NDArray[np.integer], threshold: float, by: str = "union"
) -> NDArray[np.intp]:
    """Non-maximum suppression within each group (frame).

    Args:
        boxes: ``(n, 4)``.
        scores: ``(n,)``.
        groups: ``(n,)``; boxes of different groups do not meet.
        threshold: a box that overlaps a better one by more is dropped.
        by: ``union``: intersection over union; ``min``: over the smaller box, pixels counted inclusively, which is
            how the published last stage removes a box inside a box.

    Returns:
        Indices of the remaining boxes, best first.
    """
    order = np.argsort(-scores, kind="stable")
    if not len(order):
        return order
    remaining: list[NDArray[np.intp]] = []
    for group in np.unique(groups):
        remaining.append(_suppress_one(boxes, order[groups[order] == group], threshold, by))
    index = np.concatenate(remaining)
    return index[np.argsort(-scores[index], kind="stable")]


def _suppress_one(boxes: Boxes, order: NDArray[np.intp], threshold: float, by: str) -> NDArray[np.intp]:
    one = 1.0 if by == "min" else 0.0
    b = boxes[order].astype(np.float64)
    area = _area(b, one)
    alive = np.ones(len(b), bool)
    for start in range(0, len(b), _BLOCK):  # a block's boxes meet all later ones at once
        block = np.flatnonzero(alive[start : start + _BLOCK]) + start
        later = np.flatnonzero(alive[start:]) + start
        inner = _intersection(b[block, None], b[None, later], one)
        if by == "min":
            whole = np.minimum(area[block, None], area[None, later])
        else:
            whole = area[block, None] + area[None, later] - inner
        covers = inner > threshold * whole
        for row, i in enumerate(block.tolist()):
            if alive[i]:
                alive[later[covers[row]]] = False
                alive[i] = True
    return order[alive]


def _area(b: NDArray[np.float64], one: float) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (b[..., 2] - b[..., 0] + one) * (b[..., 3] - b[..., 1] + one)
    return area


def _intersection(a: NDArray[np.float64], b: NDArray[np.float64], one: float) -> NDArray[np.float64]:
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]) + one
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]) + one
    inner: NDArray[np.float64] = np.maximum(width, 0) * np.maximum(height, 0)
    return inner


def squared(boxes: Boxes) -> Boxes:
    """Squares around the same centres, with the longer side."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    side = np.maximum(width, height)
    left, top = boxes[:, 0] + width * 0.5 - side * 0.5, boxes[:, 1] + height * 0.5 - side * 0.5
    return np.stack((left, top, left + side, top + side), 1)


def moved(boxes: Boxes, offsets: NDArray[np.float32], one: float) -> Boxes:
    """Boxes with their edges moved by offsets in units of their size (``one`` = 1 counts pixels inclusively)."""
    width, height = boxes[:, 2] - boxes[:, 0] + one, boxes[:, 3] - boxes[:, 1] + one
    size = np.stack((width, height, width, height), 1)
    return boxes + offsets * size


def windows(boxes: Boxes, width_px: int, height_px: int) -> NDArray[np.int64]:
    """Whole-pixel windows of boxes inside a picture, ``(n, 4)``: left, top, right, bottom, ends excluded.

    Pixels count from 1 in the published code: a window starts at ``trunc(left) - 1`` and ends at ``trunc(right)``.
    """
    whole = np.trunc(boxes).astype(np.int64)
    left, top = np.maximum(whole[:, 0], 1) - 1, np.maximum(whole[:, 1], 1) - 1
    right, bottom = np.minimum(whole[:, 2], width_px), np.minimum(whole[:, 3], height_px)
    return np.stack((left, top, right, bottom), 1)
