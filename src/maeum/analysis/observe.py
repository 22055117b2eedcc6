"""Looking at and listening to a recording once: the faces it shows, each followed through it, and its sound."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from maeum.analysis.segments import FacePresence
from maeum.errors import MediaError
from maeum.media.audio import read_audio
from maeum.media.boxes import FaceBox
from maeum.media.faces import FACE_PX, FaceDetector, crop_face
from maeum.media.info import MediaInfo
from maeum.media.parallel import read_ahead
from maeum.media.tracks import track_faces
from maeum.media.video import sample_frames
from maeum.types import FaceTrack

#: Told how far a pass over the recording has come: what is done, seconds done, seconds in all.
Progress = Callable[[str, float, float], None]

#: A face that the detector is never surer of is a false alarm: of 12 such in the videos at hand none was a face.
_SURE = 0.9
#: Pictures of the faces in reports.
_PORTRAIT_PX, _PORTRAIT_MARGIN_PX = 112, 26


@dataclass(frozen=True)
class TrackedFace:
    """One face through a recording. boxes: of the upright frames. crops: ``(n, 3, 48, 48)`` uint8."""

    id: int
    times_s: tuple[float, ...]
    boxes: tuple[FaceBox, ...]
    crops: NDArray[np.uint8]
    portrait_png: bytes

    @property
    def presence(self) -> FacePresence:
        """What planning needs to know of it."""
        return FacePresence(self.id, self.times_s, tuple(b.width * b.height for b in self.boxes))

    @property
    def track(self) -> FaceTrack:
        """What a timeline keeps of it."""
        boxes = zip(self.times_s, self.boxes, strict=True)
        return FaceTrack(self.id, tuple((t, b.left, b.top, b.right, b.bottom) for t, b in boxes), self.portrait_png)

    def between(self, start_s: float, end_s: float) -> NDArray[np.uint8]:
        """Its crops in a stretch, ``(n, 3, 48, 48)``."""
        times = np.asarray(self.times_s)
        return self.crops[(times >= start_s - 1e-9) & (times < end_s - 1e-9)]


@dataclass(frozen=True)
class RecordingFaces:
    """The faces of a recording. frames: how many pictures were looked at. end_s: when the last one was shown."""

    faces: tuple[TrackedFace, ...] = ()
    frames: int = 0
    end_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordingAudio:
    """The sound of a recording. samples: ``(n,)`` float32 at 16 kHz. missing: why there is none, else None."""

    samples: NDArray[np.float32]
    missing: str | None = None
    notes: tuple[str, ...] = ()


def watch(
    info: MediaInfo, detector: FaceDetector, every_s: float, margin_px: int, progress: Progress
) -> RecordingFaces:
    """Find and follow the faces of a recording; one decoding pass, a frame or two in memory at a time.

    A picture stream that cannot be decoded gives no faces and a note, as the sound may still be good.
    """
    if not info.has_video:
        return RecordingFaces(notes=("there is no picture",))
    times: list[float] = []
    found: list[list[FaceBox]] = []
    crops: dict[tuple[float, FaceBox], NDArray[np.uint8]] = {}
    portraits: dict[tuple[float, FaceBox], bytes] = {}
    try:
        frames = sample_frames(info.path, every_s=every_s)
        with closing(read_ahead(frames)) as early:
            to_search, to_keep = itertools.tee(early)
            searched = detector.detect_stream(frame.rgb for frame in to_search)
            for boxes, frame in zip(searched, to_keep, strict=True):
                times.append(frame.time_s)
                found.append(boxes)
                for box in boxes:
                    crops[frame.time_s, box] = crop_face(frame.rgb, box, FACE_PX, margin_px)
                    portraits[frame.time_s, box] = _portrait(frame.rgb, box)
                progress("faces", frame.time_s + every_s, info.duration_s or 0.0)
    except MediaError as error:
        return RecordingFaces(notes=(f"the picture cannot be used: {error.problem}",))
    tracks = track_faces(times, found)
    sure = [t for t in tracks if max(b.confidence for _, b in t.boxes) >= _SURE]
    notes = list(frames.notes)
    if len(sure) < len(tracks):
        notes.append(f"{len(tracks) - len(sure)} uncertain detections were taken for false alarms, not for faces")
    watched = tuple(
        TrackedFace(
            id=number,
            times_s=tuple(t for t, _ in track.boxes),
            boxes=tuple(b for _, b in track.boxes),
            crops=np.stack([crops[key] for key in track.boxes]).transpose(0, 3, 1, 2),
            portrait_png=_png(portraits[max(track.boxes, key=_quality)]),
        )
        for number, track in enumerate(sure, start=1)
    )
    return RecordingFaces(watched, len(times), times[-1] + every_s if times else 0.0, tuple(notes))


def listen(info: MediaInfo, progress: Progress) -> RecordingAudio:
    """The whole sound of a recording; a stream that cannot be decoded counts as none, with the reason."""
    nothing = np.zeros(0, np.float32)
    if not info.has_audio:
        return RecordingAudio(nothing, "the recording has no sound")
    progress("sound", 0.0, info.duration_s or 0.0)
    try:
        audio = read_audio(info.path)
    except MediaError as error:
        return RecordingAudio(nothing, f"the sound cannot be used: {error.problem}")
    return RecordingAudio(audio.samples, None, audio.notes)


def wave_of(samples: NDArray[np.float32]) -> torch.Tensor:
    """Samples as a tensor ``(n,)``."""
    return torch.from_numpy(np.ascontiguousarray(samples))


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
