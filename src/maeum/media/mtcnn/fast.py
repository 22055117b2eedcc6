"""The same cascade as `mtcnn_reference`, several times faster on a CPU.

- Area resizing by an integral image (`integral`): every pyramid level and every window of the later stages is a handful
  of look-ups.
- The networks run row by row in C++ (`mtcnn_native`). Where that cannot be compiled, they run in PyTorch, channels-last
  and padded with zero channels to widths that vector units like, in parts whose intermediate maps stay in the cache.
- P-Net looks only where there is contrast (`mtcnn_proposals`).

In a recording, where frames follow each other, moreover:

- P-Net looks only where something changed since the key frame before.
- Key frames - the first of a scene, its last, and every few between - are searched for faces of all sizes. Between two
  of them, faces of less than twice the smallest size, which cost most, are looked for only near those of the two key
  frames, sure or not; larger ones everywhere. A face that both key frames show and a frame between them lost has that
  frame searched as a key frame.
- The frames between two key frames are looked at together, and that while the next key frame is searched on another
  thread. Answers do not depend on the number of threads.

R-Net and O-Net always judge a frame's own pixels. The recall of all this is measured by the face tests and by
``benchmarks/pipeline.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.media.boxes import Boxes, moved, squared, suppress, windows
from maeum.media.mtcnn.bodies import fast_body
from maeum.media.mtcnn.integral import IntegralImage
from maeum.media.mtcnn.networks import OutputNet, ProposalNet, RefineNet
from maeum.media.mtcnn.proposals import Memory, Proposer
from maeum.media.mtcnn.reference import THRESHOLDS, finish
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
        self._r_body = fast_body(self._r.body, (32, 48, 64))
        self._o_body = fast_body(self._o.body, (32, 64, 64, 128))

    def alone(self, frames: Iterable[Picture], min_face_px: float) -> list[Found]:
        """Faces of pictures: boxes ``(n, 4)``, confidences ``(n,)``, landmarks ``(n, 5, 2)`` each; best first."""
        return [look.found for look in self._crew.map(lambda frame: self._look(frame, min_face_px), frames)]

    def stream(self, frames: Iterable[Picture], min_face_px: float) -> Iterator[Found]:
        """Faces of successive frames of a recording; a few frames behind what is read."""
        looks: deque[Future[list[_Look]]] = deque()
        waiting = 0  # frames in them
        try:
            for count, look in self._looks(frames, min_face_px):
                looks.append(look)
                waiting += count
                while waiting > _KEY_EVERY:
                    done = looks.popleft().result()
                    waiting -= len(done)
                    yield from (one.found for one in done)
            while looks:
                yield from (one.found for one in looks.popleft().result())
        finally:
            for look in looks:
                look.cancel()

    def _looks(self, frames: Iterable[Picture], min_face_px: float) -> Iterator[tuple[int, Future[list[_Look]]]]:
        """Looks at the frames in their order, with the number of frames in each."""
        key: Future[list[_Look]] | None = None
        waiting: list[Picture] = []
        last: Picture | None = None
        for frame in frames:
            if key is None or last is None or _cut(last, frame):
                yield from self._until_key(waiting, key, min_face_px)
                waiting = []
                key = self._crew.start(partial(self._key, frame, min_face_px))
                yield 1, key
            else:
                waiting.append(frame)
            last = frame
            if len(waiting) == _KEY_EVERY:
                for count, look in self._until_key(waiting, key, min_face_px):
                    key = look
                    yield count, look
                waiting = []
        yield from self._until_key(waiting, key, min_face_px)

    def _until_key(
        self, frames: list[Picture], key: Future[list[_Look]] | None, min_face_px: float
    ) -> Iterator[tuple[int, Future[list[_Look]]]]:
        """Looks at frames after a key frame; the last of them is a key frame as well, and is looked at first."""
        if not frames or key is None:
            return
        *inner, end = frames
        after = self._crew.start(partial(self._key, end, min_face_px), key)
        if inner:
            yield len(inner), self._crew.start(partial(self._between, inner, min_face_px), key, after)
        yield 1, after

    def _key(self, frame: Picture, min_face_px: float, *before: list[_Look]) -> list[_Look]:
        """A key frame, with the one before in its scene, if there is one."""
        return [self._look(frame, min_face_px, before[0][0].memory if before else ())]

    def _between(
        self, frames: list[Picture], min_face_px: float, before: list[_Look], after: list[_Look]
    ) -> list[_Look]:
        """Frames between two key frames, together."""
        (first,), (last,) = before, after
        pictures = [IntegralImage(frame) for frame in frames]
        with torch.inference_mode():
            near = np.concatenate((first.suspects, last.suspects))
            looks = self._refine(pictures, self._propose(pictures, min_face_px, first.memory, near)[0])
        steady = _steady(first, last)
        return [
            self._look(frame, min_face_px, first.memory) if _lost(steady, look) else look
            for frame, look in zip(frames, looks, strict=True)
        ]

    def _look(self, frame: Picture, min_face_px: float, known: Memory = ()) -> _Look:
        """A look for faces of all sizes everywhere."""
        picture = IntegralImage(frame)
        with torch.inference_mode():
            boxes, memory = self._propose([picture], min_face_px, known)
            (look,) = self._refine([picture], boxes)
        return replace(look, memory=memory)

    def _refine(self, pictures: Sequence[IntegralImage], proposals: list[Boxes]) -> list[_Look]:
        """R-Net and O-Net on each picture's square proposals."""
        boxes, frame = np.concatenate(proposals), _numbers(proposals)
        offsets, face = self._refined(pictures, boxes, frame)
        suspects = [boxes[(face > _SUSPECT) & (frame == i)] for i in range(len(pictures))]
        passed = np.flatnonzero(face > THRESHOLDS[1])
        keep = passed[suppress(boxes[passed], face[passed], frame[passed], 0.7)]
        keep = keep[np.argsort(frame[keep], kind="stable")]
        boxes, frame = squared(moved(boxes[keep], offsets[keep], 1.0)), frame[keep]
        offsets, face, points = self._judged(pictures, boxes, frame)
        looks = []
        for i, places in enumerate(suspects):
            mine = (face > THRESHOLDS[2]) & (frame == i)
            found = finish(boxes[mine], face[mine], offsets[mine], points[mine])
            looks.append(_Look(found, np.concatenate((places, found[0]))))
        return looks

    def _refined(
        self, pictures: Sequence[IntegralImage], boxes: Boxes, frame: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """R-Net's box offsets ``(n, 4)`` and certainty ``(n,)``."""

        def judge(crops: NDArray[np.float32]) -> tuple[Tensor, ...]:
            x = self._r.dense(_flat(self._r_body(crops)))
            return self._r.offsets(x), self._r.face(x).softmax(1)[:, 1:]

        offsets, face = _in_parts(judge, pictures, boxes, frame, 24, _R_CHUNK, (4, 1))
        return offsets, face[:, 0]

    def _judged(
        self, pictures: Sequence[IntegralImage], boxes: Boxes, frame: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """O-Net's box offsets ``(n, 4)``, certainty ``(n,)`` and landmarks ``(n, 10)``."""

        def judge(crops: NDArray[np.float32]) -> tuple[Tensor, ...]:
            x = self._o.dense(_flat(self._o_body(crops)))
            return self._o.offsets(x), self._o.face(x).softmax(1)[:, 1:], self._o.landmarks(x)

        offsets, face, points = _in_parts(judge, pictures, boxes, frame, 48, _O_CHUNK, (4, 1, 10))
        return offsets, face[:, 0], points


def _in_parts(
    judge: Callable[[NDArray[np.float32]], tuple[Tensor, ...]],
    pictures: Sequence[IntegralImage],
    boxes: Boxes,
    frame: NDArray[np.int64],
    size_px: int,
    most: int,
    widths: tuple[int, ...],
) -> list[NDArray[np.float32]]:
    """What ``judge`` says of the boxes' crops, ``(n, width)`` each; few at a time, for the cache.

    Boxes ``(n, 4)`` are in the order of the pictures ``frame (n,)`` that they are in.
    """
    inside = windows(boxes, pictures[0].width, pictures[0].height)
    outputs = []
    for start in range(0, len(boxes), most):
        part = slice(start, start + most)
        crops = [pictures[i].crops(inside[part][frame[part] == i], size_px) for i in np.unique(frame[part]).tolist()]
        outputs.append(judge(crops[0] if len(crops) == 1 else np.concatenate(crops)))
    return [
        np.concatenate([parts[i].numpy() for parts in outputs]) if outputs else np.zeros((0, width), np.float32)
        for i, width in enumerate(widths)
    ]


def _flat(x: Tensor) -> Tensor:
    """``(n, h, w, c)`` -> ``(n, w * h * c)``: the order in which the published dense layers were trained."""
    return x.transpose(1, 2).flatten(1)


def _numbers(rows: list[Boxes]) -> NDArray[np.int64]:
    """Which list each row comes from."""
    return np.repeat(np.arange(len(rows)), [len(r) for r in rows])


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
    """Whether one of the faces is no longer found."""
    return bool((~_close(faces, look.found[0]).any(1)).any())


def _close(a: Boxes, b: Boxes) -> NDArray[np.bool_]:
    """Pairs whose centres are less than the larger one's side apart, ``(n, m)``."""
    centres = [(f[:, :2] + f[:, 2:]) / 2 for f in (a, b)]
    sides = [(f[:, 2:] - f[:, :2]).max(1, initial=0) for f in (a, b)]
    apart = np.abs(centres[0][:, None] - centres[1][None]).max(-1)
    return np.asarray(apart < np.maximum(sides[0][:, None], sides[1][None]), bool)
