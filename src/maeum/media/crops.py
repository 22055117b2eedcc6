"""Square face crops, as the encoders take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maeum.errors import InputError
from maeum.media.boxes import FaceBox

#: Side of a crop and the published margin, both in pixels of the crop.
FACE_PX, MARGIN_PX = 48, 2


def crop_face(
    rgb: NDArray[np.uint8], box: FaceBox, size_px: int = FACE_PX, margin_px: int = MARGIN_PX
) -> NDArray[np.uint8]:
    """The square around a face, resized.

    The square has the box's centre and its longer side, so that a face keeps its shape (the published crop squeezes the
    box into a square), and grows so that the margin is ``margin_px`` of the crop's pixels in all:
    side * size / (size - margin). What lies outside the picture repeats the picture's edge.

    Args:
        rgb: ``(height, width, 3)`` uint8.
        box: where the face is, in pixels of ``rgb``.
        size_px: side of the crop.
        margin_px: margin in pixels of the crop, both sides together.

    Returns:
        ``(size, size, 3)`` uint8.

    Raises:
        InputError: when the picture is not uint8 RGB, or the box is empty.
    """
    check_rgb(rgb)
    side = max(box.width, box.height)
    if not 0 < side < float("inf"):
        raise InputError(f"box {box.left:g}, {box.top:g}, {box.right:g}, {box.bottom:g} is empty", item="face")
    if not 0 <= margin_px < size_px:
        raise InputError(f"margin {margin_px} px leaves nothing of {size_px} px", item="face crop")
    half = side * size_px / (size_px - margin_px) / 2
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    return _resized_square(rgb, x - half, y - half, 2 * half, size_px)


def centre_crop(rgb: NDArray[np.uint8], size_px: int = FACE_PX) -> NDArray[np.uint8]:
    """The largest square in the middle, resized to ``(size, size, 3)``: what stands in for a face that is not found.

    Raises:
        InputError: when the picture is not uint8 RGB.
    """
    check_rgb(rgb)
    height, width = rgb.shape[:2]
    side = min(height, width)
    return _resized_square(rgb, (width - side) // 2, (height - side) // 2, side, size_px)


def resize_face(rgb: NDArray[np.uint8], size_px: int = FACE_PX) -> NDArray[np.uint8]:
    """A crop of any size as ``(size, size, 3)``; an oblong one is filled up to a square by repeating its edges.

    Raises:
        InputError: when the picture is not uint8 RGB.
    """
    check_rgb(rgb)
    height, width = rgb.shape[:2]
    side = max(height, width)
    return _resized_square(rgb, (width - side) // 2, (height - side) // 2, side, size_px)


def check_rgb(rgb: NDArray[Any]) -> None:
    """Raise InputError unless this is a picture: ``(height, width, 3)`` uint8 with at least one pixel."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        what = f"shape {rgb.shape}, {rgb.dtype}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise InputError(
            f"is not an RGB picture ({what})", item="face", remedy="Give uint8 of shape (height, width, 3), 0..255."
        )


def _resized_square(rgb: NDArray[np.uint8], left: float, top: float, side: float, size_px: int) -> NDArray[np.uint8]:
    """A square with fractional edges, resized with every pixel counted."""
    height, width = rgb.shape[:2]
    if side == size_px and left == int(left) and top == int(top) and (height, width) == (size_px, size_px):
        return rgb.copy()
    cols = np.arange(int(np.floor(left)), int(np.ceil(left + side)))
    rows = np.arange(int(np.floor(top)), int(np.ceil(top + side)))
    window = rgb[rows.clip(0, height - 1)[:, None], cols.clip(0, width - 1)[None]]
    x, y = left - cols[0], top - rows[0]
    box = (x, y, min(x + side, len(cols)), min(y + side, len(rows)))
    return np.array(Image.fromarray(window).resize((size_px, size_px), Image.Resampling.BILINEAR, box=box))
