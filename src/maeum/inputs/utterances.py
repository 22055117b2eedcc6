"""Utterances of a corpus as clips: their stretches of media are decoded and go the way of `maeum.inputs.clip`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.errors import InputError, MediaError
from maeum.inputs.clip import CheckedClip, make_clip
from maeum.inputs.faces import confident_faces, detect_faces, largest_face, stack_faces
from maeum.inputs.settings import ClipSettings
from maeum.media.audio import read_audio
from maeum.media.boxes import FaceBox
from maeum.media.container import checked_range
from maeum.media.faces import FaceDetector, centre_crop, crop_face, resize_face
from maeum.media.images import read_image
from maeum.media.info import probe
from maeum.media.sample_times import GridTimes
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.media.video import Frame, sample_frames
from maeum.types import Modality, Recording, Sound, Utterance
from maeum.wording import counted

#: Stretches without an utterance that are longer are skipped by seeking; DivX has a key frame at least every 10 s.
_SEEK_RATHER_S = 10.0
#: Utterances of more frames are decoded alone, one frame at a time.
_MOST_HELD = 80
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
#: So much longer than its recording an utterance may be without a note, as times are rounded.
_SURPLUS_S = 0.25

Rgb = NDArray[np.uint8]  # (height, width, 3)


@dataclass(frozen=True)
class _UtteranceFaces:
    """The face crops of an utterance, ``(frames, 3, 48, 48)``, and whether the file that shows them has sound."""

    crops: Tensor | None = None
    missing_reason: str | None = None
    notes: tuple[str, ...] = ()
    has_sound: bool = True
    duration_s: float | None = None
    """Seconds of moving pictures that were read; None without any."""


class UtteranceReader:
    """Reads the utterances of a corpus.

    Args:
        settings: how media become clips.
        faces: what the corpus shows: ``detect`` faces in its pictures, of which the largest is the speaker's; ``crops``
            of faces; or ``none``.
        modalities: what is wanted of each utterance.
        no_face: a frame without a face is left out, or its centre is taken as the published code does.
        keep_wave: give the wave beside the mel chunks, for networks that read it.
    """

    def __init__(
        self,
        settings: ClipSettings,
        faces: Literal["detect", "crops", "none"],
        modalities: Sequence[Modality],
        *,
        no_face: Literal["leave-out", "centre-crop"] = "leave-out",
        keep_wave: bool = False,
    ) -> None:
        self.settings, self.faces, self.modalities = settings, faces, tuple(modalities)
        self.no_face = no_face
        self._sounds: tuple[Sound, ...] = ("mel_chunks", "wave") if keep_wave else ("mel_chunks",)
        self._detector: FaceDetector | None = None

    def __call__(self, utterance: Utterance) -> CheckedClip:
        """The clip of one utterance; modalities that cannot be read are missing from it, with the reason."""
        return next(self.clips([utterance]))

    def clips(self, utterances: Sequence[Utterance]) -> Iterator[CheckedClip]:
        """The clip of each utterance, in their order; see `__call__`.

        Frames of utterances that follow each other in one recording are decoded in one pass.

        Args:
            utterances: with distinct ids.
        """
        pictured = [u for u in utterances if u.recording is not None and self._has_frames(u.recording)]
        passes = {u.id: group for group in self._passes(pictured) for u in group}
        faces: dict[str, _UtteranceFaces] = {}
        for utterance in utterances:
            if utterance.id in passes and utterance.id not in faces:
                group = passes[utterance.id]
                faces |= zip((u.id for u in group), self._faces_of(group), strict=True)
            yield self._clip(utterance, faces.pop(utterance.id, _UtteranceFaces()))

    def _clip(self, utterance: Utterance, faces: _UtteranceFaces) -> CheckedClip:
        missing: dict[Modality, str] = {}
        if faces.missing_reason is not None:
            missing["faces"] = faces.missing_reason
        notes = list(faces.notes)
        recording, wave, duration_s = utterance.recording, None, faces.duration_s
        if recording is not None and recording.audio is not None and self._has_sound(recording):
            try:
                if recording.audio == recording.video and not faces.has_sound:
                    missing["speech"] = "no sound"
                else:
                    wave, audio_notes = _read_speech(recording.audio, recording, utterance)
                    notes += audio_notes
                    duration_s = max(duration_s or 0.0, len(wave) / SAMPLE_RATE_HZ) or None
                    if not len(wave):
                        missing["speech"], wave = "no sound", None
            except (MediaError, InputError) as error:
                missing["speech"] = str(error)
        text = utterance.text if "text" in self.modalities and (utterance.text or "").strip() else None
        made = make_clip(
            utterance.id,
            self.settings,
            faces=faces.crops,
            wave=wave,
            text=text,
            sounds=self._sounds,
            allow_blank=self.no_face == "centre-crop",
            missing=missing,
        )
        notes += _cut_note(utterance, duration_s, notes)
        return replace(made, notes=(*notes, *made.notes), duration_s=duration_s)

    def _is_image(self, recording: Recording) -> bool:
        video = recording.video
        return video is not None and (self.faces == "crops" or video.suffix.lower() in _IMAGES)

    def _has_frames(self, recording: Recording) -> bool:
        moving = recording.video is not None and self.faces == "detect"
        return "faces" in self.modalities and (moving or self._is_image(recording))

    def _has_sound(self, recording: Recording) -> bool:
        return "speech" in self.modalities and not self._is_image(recording)

    def _passes(self, utterances: Sequence[Utterance]) -> list[list[Utterance]]:
        """Utterances whose frames are decoded together; most are alone."""
        alone: list[list[Utterance]] = []
        together: dict[Path, list[Utterance]] = {}
        longest_s = _MOST_HELD * self.settings.frame_every_s
        for utterance in utterances:
            recording, start_s, end_s = utterance.recording, max(utterance.start_s, 0.0), utterance.end_s
            assert recording is not None
            assert recording.video is not None
            if self._is_image(recording) or end_s is None or not start_s < end_s <= start_s + longest_s:
                alone.append([utterance])
            else:
                together.setdefault(recording.video, []).append(utterance)
        passes = alone
        for group in together.values():
            last_s = -math.inf
            for utterance in sorted(group, key=lambda u: u.start_s):
                if utterance.start_s > last_s + _SEEK_RATHER_S:
                    passes.append([])
                passes[-1].append(utterance)
                last_s = max(last_s, utterance.end_s or last_s)
        return passes

    def _faces_of(self, group: Sequence[Utterance]) -> list[_UtteranceFaces]:
        """The faces of each of a group, which has one recording."""
        recording = group[0].recording
        assert recording is not None
        path, has_sound = recording.video, True
        assert path is not None
        try:
            if self._is_image(recording):
                return [self._image(path, recording)]
            info = probe(path)
            has_sound = info.has_audio
            if not info.has_video:
                return [_UtteranceFaces(missing_reason="no picture", has_sound=has_sound) for _ in group]
            read = self._one_stretch if len(group) == 1 else self._several_stretches
            return [
                replace(faces, has_sound=has_sound, duration_s=_read_s(utterance, info.duration_s))
                for faces, utterance in zip(read(path, group), group, strict=True)
            ]
        except (MediaError, InputError) as error:
            return [_UtteranceFaces(missing_reason=str(error), has_sound=has_sound) for _ in group]

    def _image(self, path: Path, recording: Recording) -> _UtteranceFaces:
        rgb = _cropped(read_image(path), recording.crop)
        if self.faces == "crops":
            return _UtteranceFaces(stack_faces([resize_face(rgb)]))
        return self._stacked([self._crop(rgb, confident_faces(self._face_detector().detect([rgb])[0]))])

    def _one_stretch(self, path: Path, group: Sequence[Utterance]) -> list[_UtteranceFaces]:
        """The faces of one utterance."""
        (utterance,) = group
        every_s = self.settings.frame_every_s
        frames = sample_frames(path, every_s=every_s, start_s=utterance.start_s, end_s=utterance.end_s)
        faces = self._detected((frame.rgb for frame in frames), utterance)
        return [replace(faces, notes=(*frames.notes, *faces.notes))]

    def _several_stretches(self, path: Path, group: Sequence[Utterance]) -> list[_UtteranceFaces]:
        """The faces of several utterances, which may overlap, in one pass; equal to those of one after the other."""
        spans = [checked_range(path, u.start_s, u.end_s) for u in group]
        times_s = [tuple(GridTimes(start_s, self.settings.frame_every_s, end_s)) for start_s, end_s, _ in spans]
        frames = sample_frames(path, times_s=sorted({time_s for times in times_s for time_s in times}))
        faces: dict[int, _UtteranceFaces] = {}
        notes: dict[int, tuple[str, ...]] = {}
        for number, pictures in _dealt(frames, times_s):
            faces[number] = self._detected(pictures, group[number])
            absent = len(times_s[number]) - len(pictures)
            of = counted(len(times_s[number]), "picture")
            notes[number] = (f"{absent} of {of} {'is' if absent == 1 else 'are'} not in the file",) if absent else ()
        return [
            replace(faces[n], notes=(*spans[n][2], *frames.notes, *notes[n], *faces[n].notes))
            for n in range(len(group))
        ]

    def _detected(self, pictures: Iterable[Rgb], utterance: Utterance) -> _UtteranceFaces:
        assert utterance.recording is not None
        crop = utterance.recording.crop
        shown = (_cropped(rgb, crop) for rgb in pictures)
        found = detect_faces(self._face_detector(), shown, lambda rgb: rgb)
        return self._stacked([self._crop(rgb, boxes) for rgb, boxes, _ in found])

    def _face_detector(self) -> FaceDetector:
        if self._detector is None:
            self._detector = FaceDetector()
        return self._detector

    def _crop(self, rgb: Rgb, boxes: Sequence[FaceBox]) -> Rgb | None:
        """The largest face, ``(48, 48, 3)``; of a frame without one its centre or nothing."""
        box = largest_face(boxes)
        if box is not None:
            return crop_face(rgb, box)
        return centre_crop(rgb) if self.no_face == "centre-crop" else None

    def _stacked(self, crops: Sequence[Rgb | None]) -> _UtteranceFaces:
        faces = [crop for crop in crops if crop is not None]
        without = (
            f"no face in {len(crops) - len(faces)} of {counted(len(crops), 'frame')}"
            if len(faces) < len(crops)
            else None
        )
        if not faces:
            return _UtteranceFaces(missing_reason=without)
        return _UtteranceFaces(stack_faces(faces), notes=(without,) if without else ())


def _read_s(utterance: Utterance, file_s: float | None) -> float | None:
    """Seconds of a stretch that lie in a file of that length; None where neither end is known."""
    ends = [end for end in (utterance.end_s, file_s) if end is not None]
    return max(min(ends) - max(utterance.start_s, 0.0), 0.0) if ends else None


def _cut_note(utterance: Utterance, read_s: float | None, notes: Sequence[str]) -> tuple[str, ...]:
    """Says that an utterance is to end after its recording does; where that is damaged, its notes say so already."""
    if utterance.end_s is None or not read_s or any(note.startswith("truncated") for note in notes):
        return ()
    ends_s = max(utterance.start_s, 0.0) + read_s
    if utterance.end_s <= ends_s + _SURPLUS_S:
        return ()
    return (f"end {utterance.end_s:g} s is beyond the recording, which ends at {ends_s:.2f} s",)


def _read_speech(path: Path, recording: Recording, utterance: Utterance) -> tuple[Tensor, tuple[str, ...]]:
    """The sound of an utterance, ``(n,)`` at 16 kHz, and what there is to note about it."""
    starts_s, end_s = recording.audio_starts_s, utterance.end_s
    audio = read_audio(
        path,
        start_s=utterance.start_s - starts_s,
        end_s=None if end_s is None else end_s - starts_s,
        channel=recording.channel,
    )
    return torch.from_numpy(np.ascontiguousarray(audio.samples)), audio.notes


def _dealt(frames: Iterable[Frame], times_s: Sequence[Sequence[float]]) -> Iterator[tuple[int, list[Rgb]]]:
    """Frames of one pass, dealt out to the utterances that they belong to.

    Args:
        frames: in the order of time.
        times_s: the times of each utterance's frames.

    Yields:
        The number of an utterance and its pictures, as soon as there are no more for it.
    """
    held: dict[int, list[Rgb]] = {number: [] for number in range(len(times_s))}
    for frame in frames:
        for number in [n for n in held if times_s[n][-1] < frame.time_s]:
            yield number, held.pop(number)
        for number, pictures in held.items():
            if frame.time_s in times_s[number]:
                pictures.append(frame.rgb)
    yield from held.items()


def _cropped(rgb: Rgb, crop: tuple[float, float, float, float] | None) -> Rgb:
    """The part of a picture that `Recording` names, at least a pixel."""
    if crop is None:
        return rgb
    height, width = rgb.shape[:2]
    left, top = min(round(crop[0] * width), width - 1), min(round(crop[1] * height), height - 1)
    right, bottom = max(round(crop[2] * width), left + 1), max(round(crop[3] * height), top + 1)
    return np.ascontiguousarray(rgb[top:bottom, left:right])
