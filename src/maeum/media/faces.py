"""Faces in frames: where they are, and square crops of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maeum.errors import InputError
from maeum.media.boxes import FaceBox, iou
from maeum.media.crops import FACE_PX, MARGIN_PX, centre_crop, check_rgb, crop_face, resize_face
from maeum.media.geometry import bounded_size
from maeum.media.mtcnn_fast import FastCascade
from maeum.media.mtcnn_networks import load_networks
from maeum.media.mtcnn_reference import MIN_FACE_PX

__all__ = ["FACE_PX", "MARGIN_PX", "FaceBox", "FaceDetector", "centre_crop", "crop_face", "iou", "resize_face"]


class FaceDetector:
    """MTCNN on its published weights.

    Args:
        min_face_px: smallest face looked for, in pixels of the frame (of the bounded frame, when it is larger).
        max_side_px: a frame whose long side is longer is searched at this size; boxes are in pixels of the frame given.

    Raises:
        ModelError: when the weights are missing or damaged.
        InputError: when a setting is out of range.
    """

    def __init__(self, min_face_px: float = MIN_FACE_PX, max_side_px: int = 1920) -> None:
        if not min_face_px >= 12:
            raise InputError(
                f"min_face_px = {min_face_px} is below 12", item="face detector", remedy="Give 12 or more."
            )
        if max_side_px < 12:
            raise InputError(
                f"max_side_px = {max_side_px} is below 12", item="face detector", remedy="Give 640 or more."
            )
        self.min_face_px, self.max_side_px = float(min_face_px), int(max_side_px)
        self._cascade = FastCascade(load_networks())

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[FaceBox]]:
        """Faces of each frame, the most certain first.

        Frames that follow each other in a recording are quickest together: what does not change is looked for once.

        Args:
            frames: pictures ``(height, width, 3)`` uint8 RGB, upright, of any sizes.

        Returns:
            One list per frame; empty where there is no face.

        Raises:
            InputError: when a frame is not uint8 RGB.
        """
        return list(self.detect_stream(frames))

    def detect_stream(self, frames: Iterable[NDArray[np.uint8]]) -> Iterator[list[FaceBox]]:
        """The same as `detect`, frame by frame, for recordings that do not fit into memory."""
        sizes: list[tuple[int, int]] = []
        for found in self._cascade(self._bounded(frames, sizes), self.min_face_px):
            (width, height), (small_width, small_height) = sizes
            yield _face_boxes(*found, scale=(width / small_width, height / small_height))

    def _bounded(
        self, frames: Iterable[NDArray[np.uint8]], sizes: list[tuple[int, int]]
    ) -> Iterator[NDArray[np.uint8]]:
        """Frames no larger than is searched; ``sizes`` tells the size given and the size searched."""
        for frame in frames:
            check_rgb(frame)
            size = (frame.shape[1], frame.shape[0])
            small = bounded_size(*size, self.max_side_px)
            sizes[:] = [size, small]
            yield frame if small == size else np.asarray(Image.fromarray(frame).resize(small, Image.Resampling.BOX))


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
