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

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

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
    """What one look at a frame gave. suspects: places ``(n, 4)`` where a face may be. memory: for later frames."""

    found: Found
    suspects: Boxes
    memory: Memory = ()


class FastCascade:
    """P-, R- and O-Net arranged for speed.

    Args:
        networks: from `load_networks`.
        crew: the threads that share the frames.
    """

    def __init__(self, networks: tuple[ProposalNet, RefineNet, OutputNet], crew: Crew) -> None:
        p, self._r, self._o = networks
        self._crew = crew
        self._propose = Proposer(p)
        self._r_body = arranged(self._r.body, (32, 48, 64))
        self._o_body = arranged(self._o.body, (32, 64, 64, 128))

    def alone(self, frames: Iterable[Picture], min_face_px: float) -> list[Found]:
        """Faces of pictures: boxes ``(n, 4)``, confidences ``(n,)``, landmarks ``(n, 5, 2)`` each; best first."""
        return [look.found for look in self._crew.map(lambda frame: self._look(frame, min_face_px), frames)]

    def stream(self, frames: Iterable[Picture], min_face_px: float) -> Iterator[Found]:
        """Faces of successive frames of a recording; a few frames behind what is read."""
        looks: deque[Future[_Look]] = deque()
        try:
            for look in self._looks(frames, min_face_px):
                looks.append(look)
                if len(looks) > _KEY_EVERY:
                    yield looks.popleft().result().found
            while looks:
                yield looks.popleft().result().found
        finally:
            for look in looks:
                look.cancel()

    def _looks(self, frames: Iterable[Picture], min_face_px: float) -> Iterator[Future[_Look]]:
        """A look at each frame, in their order."""
        key: Future[_Look] | None = None
        waiting: list[Picture] = []
        last: Picture | None = None
        for frame in frames:
            if key is None or last is None or _cut(last, frame):
                yield from self._until_key(waiting, key, min_face_px)
                waiting = []
                key = self._crew.start(partial(self._look, frame, min_face_px))
                yield key
            else:
                waiting.append(frame)
            last = frame
            if len(waiting) == _KEY_EVERY:
                for look in self._until_key(waiting, key, min_face_px):
                    key = look
                    yield look
                waiting = []
        yield from self._until_key(waiting, key, min_face_px)

    def _until_key(
        self, frames: list[Picture], key: Future[_Look] | None, min_face_px: float
    ) -> Iterator[Future[_Look]]:
        """Looks at frames after a key frame; the last of them is a key frame as well, and is looked at first."""
        if not frames or key is None:
            return
        *inner, end = frames

        def look_at_end(before: _Look) -> _Look:
            return self._look(end, min_face_px, before.memory)

        after = self._crew.start(look_at_end, key)
        for frame in inner:
            yield self._crew.start(partial(self._look_between, frame, min_face_px), key, after)
        yield after

    def _look_between(self, frame: Picture, min_face_px: float, before: _Look, after: _Look) -> _Look:
        """A look at a frame between two key frames."""
        near = np.concatenate((before.suspects, after.suspects))
        look = self._look(frame, min_face_px, before.memory, near)
        if _lost(_steady(before, after), look):
            return self._look(frame, min_face_px, before.memory)
        return look

    def _look(self, frame: Picture, min_face_px: float, known: Memory = (), near: Boxes | None = None) -> _Look:
        with torch.inference_mode():
            picture = IntegralImage(frame)
            boxes, memory = self._propose(picture, min_face_px, known, near)
            return replace(self._refine(picture, boxes), memory=memory)

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
        said = [
            judge(torch.from_numpy(picture.crops(inside[start : start + most], size_px)).permute(0, 3, 1, 2))
            for start in range(0, len(boxes), most)
        ]
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
