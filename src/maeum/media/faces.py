"""Faces in frames: where they are, and square crops of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maeum.errors import InputError
from maeum.media.boxes import FaceBox, iou
from maeum.media.crops import FACE_PX, MARGIN_PX, centre_crop, check_rgb, crop_face, resize_face
from maeum.media.geometry import bounded_size
from maeum.media.mtcnn.fast import FastCascade
from maeum.media.mtcnn.networks import load_networks
from maeum.media.mtcnn.reference import MIN_FACE_PX
from maeum.media.parallel import Crew

__all__ = ["FACE_PX", "MARGIN_PX", "FaceBox", "FaceDetector", "centre_crop", "crop_face", "iou", "resize_face"]


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
