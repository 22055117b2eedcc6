"""The same cascade as `mtcnn_reference`, several times faster on a CPU.

- Area resizing by an integral image (`integral`): every pyramid level and every window of the later stages is a handful
  of look-ups.
- The networks run channels-last, padded with zero channels to widths that vector units like, in parts whose
  intermediate maps stay in the cache.
- P-Net looks only where there is contrast and where something changed since the frame before (`mtcnn_proposals`).

The first two change nothing but rounding; the third is what the recall of the face tests and of
``benchmarks/pipeline.py`` is measured for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.media.boxes import Boxes, moved, squared, suppress, windows
from maeum.media.integral import IntegralImage
from maeum.media.mtcnn_networks import OutputNet, ProposalNet, RefineNet
from maeum.media.mtcnn_proposals import Memory, Proposer, arranged, flat
from maeum.media.mtcnn_reference import THRESHOLDS, finish

#: Crops that R-Net and O-Net see at a time.
_R_CHUNK, _O_CHUNK = 64, 32

Found = tuple[Boxes, NDArray[np.float32], NDArray[np.float32]]


class FastCascade:
    """P-, R- and O-Net arranged for speed."""

    def __init__(self, networks: tuple[ProposalNet, RefineNet, OutputNet]) -> None:
        p, self._r, self._o = networks
        self._propose = Proposer(p)
        self._r_body = arranged(self._r.body, (32, 48, 64))
        self._o_body = arranged(self._o.body, (32, 64, 64, 128))

    def __call__(self, frames: Iterable[NDArray[np.uint8]], min_face_px: float) -> Iterator[Found]:
        """Faces of successive frames: boxes ``(n, 4)``, confidences ``(n,)``, landmarks ``(n, 5, 2)``; best first."""
        memory = Memory()
        for frame in frames:
            with torch.inference_mode():
                picture = IntegralImage(frame)
                found = self._refine(picture, self._propose(picture, min_face_px, memory))
            yield found

    def _refine(self, picture: IntegralImage, boxes: Boxes) -> Found:
        """R-Net and O-Net on square proposals."""
        offsets, face = self._refined(picture, boxes)
        passed = face > THRESHOLDS[1]
        boxes, face, offsets = boxes[passed], face[passed], offsets[passed]
        keep = suppress(boxes, face, np.zeros(len(boxes), int), 0.7)
        boxes = squared(moved(boxes[keep], offsets[keep], 1.0))
        offsets, face, points = self._judged(picture, boxes)
        passed = face > THRESHOLDS[2]
        return finish(boxes[passed], face[passed], offsets[passed], points[passed])

    def _refined(self, picture: IntegralImage, boxes: Boxes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        offsets, face = np.zeros((len(boxes), 4), np.float32), np.zeros(len(boxes), np.float32)
        for chunk, crops in _chunks(picture, boxes, 24, _R_CHUNK):
            x = self._r.dense(flat(self._r_body(crops)))
            offsets[chunk], face[chunk] = self._r.offsets(x).numpy(), self._r.face(x).softmax(1)[:, 1].numpy()
        return offsets, face

    def _judged(
        self, picture: IntegralImage, boxes: Boxes
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        offsets, face = np.zeros((len(boxes), 4), np.float32), np.zeros(len(boxes), np.float32)
        points = np.zeros((len(boxes), 10), np.float32)
        for chunk, crops in _chunks(picture, boxes, 48, _O_CHUNK):
            x = self._o.dense(flat(self._o_body(crops)))
            offsets[chunk], face[chunk] = self._o.offsets(x).numpy(), self._o.face(x).softmax(1)[:, 1].numpy()
            points[chunk] = self._o.landmarks(x).numpy()
        return offsets, face, points


def _chunks(picture: IntegralImage, boxes: Boxes, size_px: int, count: int) -> Iterator[tuple[slice, Tensor]]:
    """Crops of a few boxes at a time, ``(count, 3, size, size)``, 0..255, channels-last."""
    inside = windows(boxes, picture.width, picture.height)
    for start in range(0, len(boxes), count):
        chunk = slice(start, start + count)
        yield chunk, torch.from_numpy(picture.crops(inside[chunk], size_px)).permute(0, 3, 1, 2)
