"""From stored pixels to what a viewer sees: square pixels, upright, not larger than requested."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

#: Pixel aspects beyond this are taken for damage of the header, not for a real shape.
_LARGEST_ASPECT = 8


def square_size(width_px: int, height_px: int, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height with square pixels, for stored pixels of the given aspect (width / height).

    No pixel is thrown away: the side that is too short grows.
    """
    if not aspect or not Fraction(1, _LARGEST_ASPECT) <= aspect <= _LARGEST_ASPECT:
        return width_px, height_px
    if aspect > 1:
        return max(1, round(width_px * aspect)), height_px
    return width_px, max(1, round(height_px / aspect))


def bounded_size(width_px: int, height_px: int, max_side_px: int | None) -> tuple[int, int]:
    """The same shape with its long side at most ``max_side_px``; never larger than it was."""
    long = max(width_px, height_px)
    if max_side_px is None or long <= max_side_px:
        return width_px, height_px
    return max(1, round(width_px * max_side_px / long)), max(1, round(height_px * max_side_px / long))


def frame_to_rgb(frame: av.VideoFrame, aspect: Fraction | None, max_side_px: int | None) -> NDArray[np.uint8]:
    """A decoded frame as the viewer sees it.

    Conversion from any pixel format (10-bit, limited range, grey ...), scaling to square pixels and bounding the size
    are one pass of the scaler, so that a huge frame never exists as RGB.

    Returns:
        ``(height, width, 3)`` uint8, contiguous, upright.
    """
    width, height = square_size(frame.width, frame.height, aspect)
    width, height = bounded_size(width, height, max_side_px)
    if (width, height) == (frame.width, frame.height):
        rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    else:
        shrinks = width <= frame.width and height <= frame.height
        scaled = frame.reformat(width, height, "rgb24", interpolation="AREA" if shrinks else "BICUBIC")
        rgb = np.asarray(scaled.to_ndarray(), np.uint8)
    return _upright(rgb, frame)


def _upright(rgb: NDArray[np.uint8], frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Apply the display matrix: a turn by the nearest multiple of 90 degrees, then a mirror."""
    turns, mirrored = quarter_turns(frame)
    if turns:
        rgb = np.rot90(rgb, turns)
    if mirrored:
        rgb = rgb[:, ::-1]
    return np.ascontiguousarray(rgb)


def quarter_turns(frame: av.VideoFrame) -> tuple[int, bool]:
    """Quarter turns anticlockwise, and whether the picture is mirrored left to right afterwards."""
    data: Any = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]  # its stub says str
    if data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(float)
    mirrored = a * d - b * c < 0
    if mirrored:
        a, c = -a, -c
    if math.hypot(a, c) == 0 or math.hypot(b, d) == 0:
        return 0, False
    degrees = -math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))
    return round(degrees / 90) % 4, mirrored
