"""Faces in frames: where they are, and square crops of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maeum.errors import InputError
from maeum.media.boxes import FaceBox
from maeum.media.geometry import bounded_size
from maeum.media.mtcnn.fast import FastCascade
from maeum.media.mtcnn.networks import load_networks
from maeum.media.mtcnn.reference import MIN_FACE_PX
from maeum.media.parallel import Crew
from maeum.media.shapes import FACE_PX, MARGIN_PX


class FaceDetector:
    """MTCNN on its published weights.

    Args:
        min_face_px: smallest face looked for, in pixels of the frame (of the bounded frame, when it is larger).
        max_side_px: a frame whose long side is longer is searched at this size; boxes are in pixels of the frame given.
        threads: processor threads that share the work; None takes as many as torch uses. Answers do not depend on it.

    Raises:
        ModelError: when the weights are missing or damaged.
        InputError: when a setting is out of range.
    """

    def __init__(self, min_face_px: float = MIN_FACE_PX, max_side_px: int = 1920, threads: int | None = None) -> None:
        if not min_face_px >= 12:
            raise InputError(
                f"min_face_px = {min_face_px} is below 12", item="face detector", remedy="Give 12 or more."
            )
        if max_side_px < 12:
            raise InputError(
                f"max_side_px = {max_side_px} is below 12", item="face detector", remedy="Give 640 or more."
            )
        self.min_face_px, self.max_side_px = float(min_face_px), int(max_side_px)
        self._cascade = FastCascade(load_networks(), Crew(threads))

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[FaceBox]]:
        """Faces of pictures that need not belong together, the most certain first; each is searched by itself.

        Args:
            frames: pictures ``(height, width, 3)`` uint8 RGB, upright, of any sizes.

        Returns:
            One list per picture; empty where there is no face.

        Raises:
            InputError: when a picture is not uint8 RGB.
        """
        bounded = [self._bounded(frame) for frame in frames]
        found = self._cascade.alone((small for small, _ in bounded), self.min_face_px)
        return [_face_boxes(*faces, scale) for faces, (_, scale) in zip(found, bounded, strict=True)]

    def detect_stream(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[list[FaceBox]]:
        """Faces of the frames of a recording in their order, several times faster than one by one.

        What does not change is looked for once, and faces of less than twice ``min_face_px`` only every few frames and
        near where frames around show them; see `maeum.media.mtcnn.fast`. Answers come a few frames behind what is read
        from ``frames``; `itertools.tee` keeps what is needed to pair them.

        Raises:
            InputError: when a frame is not uint8 RGB.
        """
        scales: deque[tuple[float, float]] = deque()

        def bounded() -> Iterator[NDArray[np.uint8]]:
            for frame in frames:
                small, scale = self._bounded(frame)
                scales.append(scale)
                yield small

        for found in self._cascade.stream(bounded(), self.min_face_px):
            yield _face_boxes(*found, scales.popleft())

    def _bounded(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[float, float]]:
        """The frame no larger than is searched; what its boxes are multiplied with."""
        check_rgb(frame)
        height, width = frame.shape[:2]
        small = bounded_size(width, height, self.max_side_px)
        if small == (width, height):
            return frame, (1.0, 1.0)
        smaller = np.asarray(Image.fromarray(frame).resize(small, Image.Resampling.BOX))
        return smaller, (width / small[0], height / small[1])


def _face_boxes(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    landmarks: NDArray[np.float32],
    scale: tuple[float, float],
) -> list[FaceBox]:
    corners = (boxes.reshape(-1, 2, 2) * scale).reshape(-1, 4).tolist()
    points = (landmarks * scale).tolist()
    return [
        FaceBox(left, top, right, bottom, float(score), tuple((x, y) for x, y in marks))
        for (left, top, right, bottom), score, marks in zip(corners, scores, points, strict=True)
    ]


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
    return _middle_square(rgb, min(rgb.shape[:2]), size_px)


def resize_face(rgb: NDArray[np.uint8], size_px: int = FACE_PX) -> NDArray[np.uint8]:
    """A crop of any size as ``(size, size, 3)``; an oblong one is filled up to a square by repeating its edges.

    Raises:
        InputError: when the picture is not uint8 RGB.
    """
    check_rgb(rgb)
    return _middle_square(rgb, max(rgb.shape[:2]), size_px)


def check_rgb(rgb: NDArray[Any]) -> None:
    """Raise InputError unless this is a picture: ``(height, width, 3)`` uint8 with at least one pixel."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        what = f"shape {rgb.shape}, {rgb.dtype}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise InputError(
            f"is not an RGB picture ({what})", item="face", remedy="Give uint8 of shape (height, width, 3), 0..255."
        )


def _middle_square(rgb: NDArray[np.uint8], side: int, size_px: int) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    return _resized_square(rgb, (width - side) // 2, (height - side) // 2, side, size_px)


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
