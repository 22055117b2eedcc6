"""The same cascade as `mtcnn_reference`, several times faster on a CPU.

- Area resizing by an integral image (`integral`): every pyramid level and every window of the later stages is a handful
  of look-ups.
- The networks run channels-last, padded with zero channels to widths that vector units like, in parts whose
  intermediate maps stay in the cache.
- P-Net looks only where there is contrast (`mtcnn_proposals`).

In a recording, where frames follow each other, moreover:

- P-Net looks only where something changed since it last looked.
- Key frames - the first of a scene, its last, and every few between - are searched for faces of all sizes. Between two
  of them, faces of less than twice the smallest size, which cost most, are looked for only near those of the frames
  around, sure or not; larger ones everywhere. A face that both key frames show and a frame between them lost has that
  frame searched as a key frame.

R-Net and O-Net always judge a frame's own pixels. The recall of all this is measured by the face tests and by
``benchmarks/pipeline.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.media.boxes import Boxes, moved, squared, suppress, windows
from maeum.media.integral import IntegralImage
from maeum.media.mtcnn_networks import OutputNet, ProposalNet, RefineNet
from maeum.media.mtcnn_proposals import Memory, Proposer, arranged, flat
from maeum.media.mtcnn_reference import THRESHOLDS, finish
from maeum.media.parallel import Crew

#: Crops that R-Net and O-Net see at a time.
_R_CHUNK, _O_CHUNK = 64, 16
#: A key frame at least every so many frames: 2 s of a recording that is looked at twice a second.
_KEY_EVERY = 4
#: R-Net's certainty from which a proposal is a place to look again in the frames around.
_SUSPECT = 0.5
#: A scene ends where more than this share of sampled pixels changes by more than so many grey levels.
_CUT_SHARE, _CUT_CHANGE, _CUT_EVERY_PX = 0.4, 25, 8

Found = tuple[Boxes, NDArray[np.float32], NDArray[np.float32]]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class _Look:
    """What one look at a frame gave. suspects: places ``(n, 4)`` where a face may be."""

    found: Found
    suspects: Boxes


class FastCascade:
    """P-, R- and O-Net arranged for speed."""

    def __init__(self, networks: tuple[ProposalNet, RefineNet, OutputNet], crew: Crew) -> None:
        p, self._r, self._o = networks
        self._crew = crew
        self._propose = Proposer(p, crew)
        self._r_body = arranged(self._r.body, (32, 48, 64))
        self._o_body = arranged(self._o.body, (32, 64, 64, 128))

    def alone(self, frame: Picture, min_face_px: float) -> Found:
        """Faces of one picture: boxes ``(n, 4)``, confidences ``(n,)``, landmarks ``(n, 5, 2)``; best first."""
        return self._look(IntegralImage(frame), min_face_px, Memory()).found

    def stream(self, frames: Iterable[Picture], min_face_px: float) -> Iterator[Found]:
        """Faces of successive frames of a recording; a few frames behind what is read."""
        memory = Memory()
        key: _Look | None = None
        waiting: list[Picture] = []
        last: Picture | None = None
        for frame in frames:
            if key is not None and last is not None and not _cut(last, frame):
                waiting.append(frame)
            else:  # a new scene
                yield from self._scene(waiting, key, min_face_px, memory)
                waiting, memory = [], Memory()
                key = self._look(IntegralImage(frame), min_face_px, memory)
                yield key.found
            last = frame
            if len(waiting) == _KEY_EVERY:
                for look in self._between(waiting, key, min_face_px, memory):
                    key = look
                    yield look.found
                waiting = []
        yield from self._scene(waiting, key, min_face_px, memory)

    def _scene(self, waiting: list[Picture], key: _Look | None, min_face_px: float, memory: Memory) -> Iterator[Found]:
        """What is left of a scene when it ends."""
        if waiting and key is not None:
            for look in self._between(waiting, key, min_face_px, memory):
                yield look.found

    def _between(self, frames: list[Picture], key: _Look, min_face_px: float, memory: Memory) -> Iterator[_Look]:
        """Frames after a key frame; the last of them is a key frame as well, and is looked at first."""
        *inner, end = frames
        after = self._look(IntegralImage(end), min_face_px, memory)
        steady = _steady(key, after)
        before = key
        for picture in self._pictures(inner):
            near = np.concatenate((key.suspects, before.suspects, after.suspects))
            look = self._look(picture, min_face_px, memory, near)
            if _lost(steady, look):
                look = self._look(picture, min_face_px, memory)
            before = look
            yield look
        yield after

    def _pictures(self, frames: list[Picture]) -> Iterator[IntegralImage]:
        """The frames ready for resizing, each prepared while the one before is looked at."""
        coming = None
        for frame in frames:
            ready, coming = coming, self._crew.later(IntegralImage, frame)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()

    def _look(self, picture: IntegralImage, min_face_px: float, memory: Memory, near: Boxes | None = None) -> _Look:
        with self._crew.at_work(), torch.inference_mode():
            return self._refine(picture, self._propose(picture, min_face_px, memory, near))

    def _refine(self, picture: IntegralImage, boxes: Boxes) -> _Look:
        """R-Net and O-Net on square proposals."""
        offsets, face = self._refined(picture, boxes)
        suspects = boxes[face > _SUSPECT]
        passed = face > THRESHOLDS[1]
        boxes, face, offsets = boxes[passed], face[passed], offsets[passed]
        keep = suppress(boxes, face, np.zeros(len(boxes), int), 0.7)
        boxes = squared(moved(boxes[keep], offsets[keep], 1.0))
        offsets, face, points = self._judged(picture, boxes)
        passed = face > THRESHOLDS[2]
        found = finish(boxes[passed], face[passed], offsets[passed], points[passed])
        return _Look(found, np.concatenate((suspects, found[0])))

    def _refined(self, picture: IntegralImage, boxes: Boxes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """R-Net's box offsets ``(n, 4)`` and certainty ``(n,)``."""

        def judge(crops: Tensor) -> tuple[Tensor, ...]:
            x = self._r.dense(flat(self._r_body(crops)))
            return self._r.offsets(x), self._r.face(x).softmax(1)[:, 1]

        offsets, face = self._in_parts(judge, picture, boxes, 24, _R_CHUNK, (4, 1))
        return offsets, face[:, 0]

    def _judged(
        self, picture: IntegralImage, boxes: Boxes
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """O-Net's box offsets ``(n, 4)``, certainty ``(n,)`` and landmarks ``(n, 10)``."""

        def judge(crops: Tensor) -> tuple[Tensor, ...]:
            x = self._o.dense(flat(self._o_body(crops)))
            return self._o.offsets(x), self._o.face(x).softmax(1)[:, 1], self._o.landmarks(x)

        offsets, face, points = self._in_parts(judge, picture, boxes, 48, _O_CHUNK, (4, 1, 10))
        return offsets, face[:, 0], points

    def _in_parts(
        self,
        judge: Callable[[Tensor], tuple[Tensor, ...]],
        picture: IntegralImage,
        boxes: Boxes,
        size_px: int,
        most: int,
        widths: tuple[int, ...],
    ) -> list[NDArray[np.float32]]:
        """What ``judge`` says of the boxes' crops, ``(n, width)`` each; few at a time, for the cache."""
        inside = windows(boxes, picture.width, picture.height)

        def part(start: int) -> tuple[Tensor, ...]:
            with torch.inference_mode():
                crops = torch.from_numpy(picture.crops(inside[start : start + most], size_px))
                return judge(crops.permute(0, 3, 1, 2))

        said = self._crew.map(part, range(0, len(boxes), most))
        return [
            np.concatenate([parts[i].reshape(-1, width).numpy() for parts in said]) if said else _nothing(width)
            for i, width in enumerate(widths)
        ]


def _nothing(width: int) -> NDArray[np.float32]:
    return np.zeros((0, width), np.float32)


def _cut(before: Picture, after: Picture) -> bool:
    """Whether a new scene starts."""
    if before.shape != after.shape:
        return True
    a, b = (p[::_CUT_EVERY_PX, ::_CUT_EVERY_PX].astype(np.int16) for p in (before, after))
    return bool((np.abs(a - b).max(-1) > _CUT_CHANGE).mean() > _CUT_SHARE)


def _steady(a: _Look, b: _Look) -> Boxes:
    """Faces of ``a`` that ``b`` shows at nearly the same place."""
    faces, others = a.found[0], b.found[0]
    return faces[_close(faces, others).any(1)]


def _lost(faces: Boxes, look: _Look) -> bool:
    """Whether one of the faces is no longer there."""
    return bool((~_close(faces, look.found[0]).any(1)).any())


def _close(a: Boxes, b: Boxes) -> NDArray[np.bool_]:
    """Pairs whose centres are less than the larger one's side apart, ``(n, m)``."""
    centres = [(f[:, :2] + f[:, 2:]) / 2 for f in (a, b)]
    sides = [(f[:, 2:] - f[:, :2]).max(1, initial=0) for f in (a, b)]
    apart = np.abs(centres[0][:, None] - centres[1][None]).max(-1)
    return np.asarray(apart < np.maximum(sides[0][:, None], sides[1][None]), bool)
