"""The faces of a recording, each tracked through it, and its sound; every file is decoded once."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from maeum.analysis.segments import FacePresence
from maeum.errors import MediaError
from maeum.inputs.faces import detect_faces, stack_faces
from maeum.inputs.speech import find_voice
from maeum.media.audio import read_audio
from maeum.media.boxes import FaceBox
from maeum.media.faces import FaceDetector, crop_face
from maeum.media.info import MediaInfo
from maeum.media.parallel import read_ahead
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.media.tracks import track_faces
from maeum.media.video import sample_frames
from maeum.types import FaceTrack
from maeum.wording import counted, was

#: Called with how far a pass over the recording has come: what is done, seconds done, seconds in all.
Progress = Callable[[str, float, float], None]

#: Times that are nearer are the same.
_CLOCK_S = 1e-9
#: Pictures of the faces in reports.
_PORTRAIT_PX, _PORTRAIT_MARGIN_PX = 112, 26


@dataclass(frozen=True)
class TrackedFace:
    """One face through a recording. boxes: in pixels of the upright frames. crops: ``(n, 3, 48, 48)`` uint8."""

    id: int
    times_s: tuple[float, ...]
    boxes: tuple[FaceBox, ...]
    crops: torch.Tensor
    portrait_png: bytes

    @property
    def presence(self) -> FacePresence:
        """When it is visible and how large, for the division into segments."""
        return FacePresence(self.id, self.times_s, tuple(b.width * b.height for b in self.boxes))

    @property
    def track(self) -> FaceTrack:
        """Its entry in a timeline."""
        boxes = zip(self.times_s, self.boxes, strict=True)
        return FaceTrack(self.id, tuple((t, b.left, b.top, b.right, b.bottom) for t, b in boxes), self.portrait_png)

    def between(self, start_s: float, end_s: float) -> torch.Tensor:
        """Its crops in a stretch, ``(n, 3, 48, 48)``."""
        first, last = (bisect_left(self.times_s, time_s - _CLOCK_S) for time_s in (start_s, end_s))
        return self.crops[first:last]


@dataclass(frozen=True)
class RecordingFaces:
    """The faces of a recording. frames: how many were searched. end_s: when the last one was shown."""

    faces: tuple[TrackedFace, ...] = ()
    frames: int = 0
    end_s: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def missing_reason(self) -> str | None:
        """That no face was found, where there were frames to search."""
        if self.faces or not self.frames:
            return None
        return f"no face in {counted(self.frames, 'picture')}"

    def numbered(self, ids: Sequence[int]) -> tuple[RecordingFaces, dict[int, int]]:
        """The faces with these ids, numbered from 1 in their order; and their old id -> new id."""
        new = {old: number for number, old in enumerate(ids, start=1)}
        return replace(self, faces=tuple(replace(f, id=new[f.id]) for f in self.faces if f.id in new)), new


@dataclass(frozen=True)
class RecordingAudio:
    """The sound of a recording. samples: ``(n,)`` float32 at 16 kHz. voice: stretches with voice, (start_s, end_s)."""

    samples: NDArray[np.float32]
    voice: tuple[tuple[float, float], ...] = ()
    missing_reason: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ

    def between(self, start_s: float, end_s: float) -> torch.Tensor | None:
        """The sound of a stretch, ``(n,)``; None in a recording without a voice."""
        if self.missing_reason is not None:
            return None
        start, end = (round(time_s * SAMPLE_RATE_HZ) for time_s in (start_s, end_s))
        return torch.from_numpy(np.ascontiguousarray(self.samples[start:end]))


def find_recording_faces(info: MediaInfo, detector: FaceDetector, every_s: float, progress: Progress) -> RecordingFaces:
    """Find and track the faces of a recording; one decoding pass, a frame or two in memory at a time.

    A picture stream that cannot be decoded gives no faces and a note, as the sound may still be good.
    """
    if not info.has_video:
        return RecordingFaces(notes=("there is no picture",))
    times: list[float] = []
    found: list[list[FaceBox]] = []
    crops: dict[tuple[float, FaceBox], NDArray[np.uint8]] = {}
    portraits: dict[tuple[float, FaceBox], bytes] = {}
    weak = 0
    try:
        frames = sample_frames(info.path, every_s=every_s)
        with closing(read_ahead(frames)) as early:
            for frame, boxes, ignored in detect_faces(detector, early, lambda frame: frame.rgb):
                times.append(frame.time_s)
                found.append(boxes)
                weak += ignored
                for box in boxes:
                    crops[frame.time_s, box] = crop_face(frame.rgb, box)
                    portraits[frame.time_s, box] = _portrait(frame.rgb, box)
                progress("faces", frame.time_s + every_s, info.duration_s or 0.0)
    except MediaError as error:
        return RecordingFaces(notes=(f"the picture cannot be used: {error.problem}",))
    notes = list(frames.notes)
    if weak:
        notes.append(f"{counted(weak, 'weak face detection')} {was(weak)} ignored")
    faces = tuple(
        TrackedFace(
            id=number,
            times_s=tuple(t for t, _ in track.boxes),
            boxes=tuple(b for _, b in track.boxes),
            crops=stack_faces([crops[key] for key in track.boxes]),
            portrait_png=_png(portraits[max(track.boxes, key=_quality)]),
        )
        for number, track in enumerate(track_faces(times, found), start=1)
    )
    return RecordingFaces(faces, len(times), times[-1] + every_s if times else 0.0, tuple(notes))


def read_recording_audio(info: MediaInfo, progress: Progress) -> RecordingAudio:
    """The whole sound of a recording, and where somebody speaks.

    A stream that cannot be decoded, or in which nobody speaks, counts as none, whatever a transcript says.
    """
    nothing = np.zeros(0, np.float32)
    if not info.has_audio:
        return RecordingAudio(nothing, missing_reason="the recording has no sound")
    progress("sound", 0.0, info.duration_s or 0.0)
    try:
        audio = read_audio(info.path)
    except MediaError as error:
        return RecordingAudio(nothing, missing_reason=f"the sound cannot be used: {error.problem}")
    voice, reason = find_voice(torch.from_numpy(np.ascontiguousarray(audio.samples)))
    return RecordingAudio(audio.samples, tuple(voice), reason, audio.notes)


def _quality(seen: tuple[float, FaceBox]) -> float:
    _, box = seen
    return box.width * box.height * box.confidence**4


def _portrait(rgb: NDArray[np.uint8], box: FaceBox) -> bytes:
    """A small JPEG, so that a long recording's portraits stay small until the best one is chosen."""
    picture = io.BytesIO()
    crop = crop_face(rgb, box, _PORTRAIT_PX, _PORTRAIT_MARGIN_PX)
    Image.fromarray(crop).save(picture, "JPEG", quality=90)
    return picture.getvalue()


def _png(jpeg: bytes) -> bytes:
    picture = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as image:
        image.save(picture, "PNG", optimize=True)
    return picture.getvalue()
