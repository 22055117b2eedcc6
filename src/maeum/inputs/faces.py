"""From frames to face crops: which detections count, whose face is taken, and which crops show anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import tee
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.media.boxes import FaceBox
from maeum.media.faces import FaceDetector
from maeum.media.shapes import FACE_PX

Frame = TypeVar("Frame")
Rgb = NDArray[np.uint8]  # (height, width, 3)

#: Detections of less confidence are ignored, in corpora and in recordings alike. Of 225 in the recordings at hand, 9
#: had less (0.7, the detector's own limit, to 0.9): seven showed no face or a corner of one, two a face half hidden.
MIN_FACE_CONFIDENCE = 0.9
#: A crop whose standard deviation, of 255 grey levels, is not above this shows nothing.
_FLATTEST = 1.0


def confident_faces(boxes: Iterable[FaceBox]) -> list[FaceBox]:
    """The detections that count, in their order; see `MIN_FACE_CONFIDENCE`."""
    return [box for box in boxes if box.confidence >= MIN_FACE_CONFIDENCE]


def detect_faces(
    detector: FaceDetector, frames: Iterable[Frame], rgb: Callable[[Frame], Rgb]
) -> Iterator[tuple[Frame, list[FaceBox], int]]:
    """The faces in the frames of a recording.

    Args:
        detector: finds them.
        frames: in the order of time.
        rgb: the picture of a frame, ``(height, width, 3)`` uint8.

    Yields:
        Each frame, the boxes that count, and how many detections were too weak.
    """
    searched, shown = tee(frames)
    for boxes, frame in zip(detector.detect_stream(rgb(f) for f in searched), shown, strict=True):
        confident = confident_faces(boxes)
        yield frame, confident, len(boxes) - len(confident)


def largest_face(boxes: Sequence[FaceBox]) -> FaceBox | None:
    """The face that is taken of a frame of which the corpus says that it shows one person; None without a face."""
    return max(boxes, key=lambda box: box.width * box.height, default=None)


def stack_faces(crops: Sequence[Rgb]) -> Tensor:
    """Crops ``(48, 48, 3)`` as one tensor ``(n, 3, 48, 48)`` uint8."""
    if not crops:
        return torch.zeros(0, 3, FACE_PX, FACE_PX, dtype=torch.uint8)
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))


def without_blank(faces: Tensor) -> Tensor:
    """The faces ``(n, 3, 48, 48)`` that show anything: a picture of one colour says nothing about a face."""
    return faces[faces.float().std(dim=(1, 2, 3)) > _FLATTEST]
