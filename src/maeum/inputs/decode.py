"""An utterance's media as the arrays that a store keeps: decoded, cropped and turned into mels once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from maeum.archives import ArchiveError, archive_of, read_member
from maeum.config import Config
from maeum.corpora.base import LeftOut
from maeum.data.shards import StoreItem, as_samples
from maeum.errors import CorpusError, InputError, MediaError
from maeum.media.activity import voiced_part
from maeum.media.audio import read_audio
from maeum.media.container import checked_range
from maeum.media.faces import FaceBox, FaceDetector, centre_crop, crop_face, resize_face
from maeum.media.images import read_image
from maeum.media.info import probe
from maeum.media.mel import to_mel_chunks
from maeum.media.sample_times import GridTimes
from maeum.media.video import Frame, sample_frames
from maeum.types import Modality, Recording, Utterance

#: Stretches without an utterance that are longer are skipped by seeking; DivX has a key frame at least every 10 s.
_SEEK_RATHER_S = 10.0
#: Utterances of more pictures are decoded alone, one picture at a time.
_MOST_HELD = 80
_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class DecodeConfig(Config):
    """How media become arrays; part of what a store is keyed by.

    every_s: seconds between face frames (Dai et al. 2021: 0.5). no_face: a frame without a face is left out, or its
    centre is taken as the published code does. trim_silence: only what is between the first
    and the last voice becomes mel chunks. precision: of the log-mel chunks on disk; float16 is off by at most 0.4 % of
    power, at half the size. wave: keep the sound itself too, 16 kHz mono, for networks that read it; 32 kB a second.
    """

    every_s: float = Field(default=0.5, gt=0)
    no_face: Literal["leave-out", "centre-crop"] = "leave-out"
    trim_silence: bool = False
    precision: Literal["float16", "float32"] = "float16"
    wave: bool = False

    def kept(self) -> dict[str, Any]:
        """As a store is known by; what a later version added counts only where it is asked for."""
        return self.model_dump(mode="json", exclude=None if self.wave else {"wave"})


@dataclass(frozen=True)
class _Seen:
    """The faces of an utterance, ``(frames, 3, 48, 48)``, and whether the file that shows them has sound."""

    faces: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()
    has_sound: bool = True


class Decoder:
    """Turns utterances into store items.

    Args:
        config: how.
        faces: ``detect``, ``crops`` or ``none``, as the corpus says.
        modalities: what is wanted of each utterance.
    """

    def __init__(
        self, config: DecodeConfig, faces: Literal["detect", "crops", "none"], modalities: Sequence[Modality]
    ) -> None:
        self.config, self.faces, self.modalities = config, faces, tuple(modalities)
        self._detector: FaceDetector | None = None

    def __call__(self, utterance: Utterance, content: str = "") -> StoreItem | LeftOut:
        """The item, or why it is left out: its media cannot be read, or no modality is left.

        A modality that is missing while another is there is a normal case, and noted.
        """
        return next(self.items([utterance], {utterance.id: content}))

    def items(self, utterances: Sequence[Utterance], content: Mapping[str, str]) -> Iterator[StoreItem | LeftOut]:
        """The item of each utterance, in their order; see `__call__`.

        Pictures of utterances that follow each other in one recording are decoded in one pass.

        Args:
            utterances: with distinct ids.
            content: id -> hash of what it is made of.
        """
        pictured = [u for u in utterances if u.recording is not None and self._shows(u.recording)]
        passes = {u.id: group for group in self._passes(pictured) for u in group}
        seen: dict[str, _Seen] = {}
        for utterance in utterances:
            if utterance.id in passes and utterance.id not in seen:
                group = passes[utterance.id]
                seen |= zip((u.id for u in group), self._look(group), strict=True)
            yield self._item(utterance, content[utterance.id], seen.pop(utterance.id, _Seen()))

    def _item(self, utterance: Utterance, content: str, seen: _Seen) -> StoreItem | LeftOut:
        notes = [*utterance.notes, *seen.notes]
        recording, mel_chunks, kept = utterance.recording, None, None
        if recording is not None and recording.audio is not None and self._sounds(recording):
            if recording.audio == recording.video and not seen.has_sound:
                notes.append("no sound")
            else:
                try:
                    wave = self._speech(recording.audio, recording, utterance, notes)
                    if wave is not None:
                        mel_chunks = to_mel_chunks(wave).numpy().astype(self.config.precision)
                        kept = as_samples(wave.numpy()) if self.config.wave else None
                except (MediaError, InputError) as error:
                    notes.append(str(error))
        notes = list(dict.fromkeys(notes))
        text = utterance.text if "text" in self.modalities and (utterance.text or "").strip() else None
        if seen.faces is None and mel_chunks is None and text is None:
            reason = "; ".join(notes) or f"has none of {', '.join(self.modalities)}"
            return LeftOut(utterance.id, reason, utterance.part)
        return StoreItem(utterance, seen.faces, mel_chunks, kept, content, tuple(notes))

    def _is_image(self, recording: Recording) -> bool:
        video = recording.video
        return video is not None and (self.faces == "crops" or video.suffix.lower() in _IMAGES)

    def _shows(self, recording: Recording) -> bool:
        moving = recording.video is not None and self.faces == "detect"
        return "faces" in self.modalities and (moving or self._is_image(recording))

    def _sounds(self, recording: Recording) -> bool:
        return "speech" in self.modalities and not self._is_image(recording)

    def _passes(self, utterances: Sequence[Utterance]) -> list[list[Utterance]]:
        """Utterances whose pictures are decoded together; most are alone."""
        alone: list[list[Utterance]] = []
        together: dict[Path, list[Utterance]] = {}
        longest_s = _MOST_HELD * self.config.every_s
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

    def _look(self, group: Sequence[Utterance]) -> list[_Seen]:
        """What is seen of each of a group, which has one recording."""
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
                return [_Seen(None, ("no picture",), has_sound) for _ in group]
            look = self._video if len(group) == 1 else self._videos
            return [replace(seen, has_sound=has_sound) for seen in look(path, group)]
        except (MediaError, InputError) as error:
            return [_Seen(None, (str(error),), has_sound) for _ in group]

    def _image(self, path: Path, recording: Recording) -> _Seen:
        rgb = _cropped(read_image(path), recording.crop)
        if self.faces == "crops":
            if rgb.shape[:2] != (48, 48):
                rgb = resize_face(rgb)
            return _Seen(np.ascontiguousarray(rgb.transpose(2, 0, 1)[None]))
        return self._stack([self._crop(rgb, self._faces().detect([rgb])[0])])

    def _video(self, path: Path, group: Sequence[Utterance]) -> list[_Seen]:
        """The pictures of one utterance."""
        (utterance,) = group
        frames = sample_frames(path, every_s=self.config.every_s, start_s=utterance.start_s, end_s=utterance.end_s)
        found = self._found((frame.rgb for frame in frames), utterance)
        return [replace(found, notes=(*frames.notes, *found.notes))]

    def _videos(self, path: Path, group: Sequence[Utterance]) -> list[_Seen]:
        """The pictures of several utterances, which may overlap, in one pass; equal to those of one after the other."""
        spans = [checked_range(path, u.start_s, u.end_s) for u in group]
        asked = [tuple(GridTimes(start_s, self.config.every_s, end_s)) for start_s, end_s, _ in spans]
        frames = sample_frames(path, times_s=sorted({time_s for times in asked for time_s in times}))
        found: dict[int, _Seen] = {}
        notes: dict[int, tuple[str, ...]] = {}
        for number, pictures in _dealt(frames, asked):
            found[number] = self._found(pictures, group[number])
            missing = len(asked[number]) - len(pictures)
            notes[number] = (f"{missing} of {len(asked[number])} pictures are not in the file",) if missing else ()
        return [
            replace(found[n], notes=(*spans[n][2], *frames.notes, *notes[n], *found[n].notes))
            for n in range(len(group))
        ]

    def _found(self, pictures: Iterable[NDArray[np.uint8]], utterance: Utterance) -> _Seen:
        assert utterance.recording is not None
        crop = utterance.recording.crop
        shown, searched = tee(_cropped(rgb, crop) for rgb in pictures)
        found = self._faces().detect_stream(searched)
        return self._stack([self._crop(rgb, boxes) for rgb, boxes in zip(shown, found, strict=True)])

    def _faces(self) -> FaceDetector:
        if self._detector is None:
            self._detector = FaceDetector()
        return self._detector

    def _crop(self, rgb: NDArray[np.uint8], boxes: Sequence[FaceBox]) -> NDArray[np.uint8] | None:
        """The largest face, ``(48, 48, 3)``; a frame without one gives its centre or nothing."""
        if boxes:
            return crop_face(rgb, max(boxes, key=lambda b: b.width * b.height))
        return centre_crop(rgb) if self.config.no_face == "centre-crop" else None

    def _stack(self, crops: Sequence[NDArray[np.uint8] | None]) -> _Seen:
        faces = [crop for crop in crops if crop is not None]
        notes = (f"no face in {len(crops) - len(faces)} of {len(crops)} frames",) if len(faces) < len(crops) else ()
        return _Seen(np.ascontiguousarray(np.stack(faces).transpose(0, 3, 1, 2)) if faces else None, notes)

    def _speech(self, path: Path, recording: Recording, utterance: Utterance, notes: list[str]) -> Tensor | None:
        starts_s, end_s = recording.audio_starts_s, utterance.end_s
        audio = read_audio(
            path,
            start_s=utterance.start_s - starts_s,
            end_s=None if end_s is None else end_s - starts_s,
            channel=recording.channel,
        )
        notes.extend(audio.notes)
        wave = torch.from_numpy(np.ascontiguousarray(audio.samples))
        if self.config.trim_silence:
            wave = voiced_part(wave)
        if not len(wave):
            notes.append("no voice" if self.config.trim_silence else "no sound")
            return None
        return wave


def _dealt(frames: Iterable[Frame], asked: Sequence[Sequence[float]]) -> Iterator[tuple[int, list[NDArray[np.uint8]]]]:
    """Frames of one pass, dealt out to those who asked for them.

    Args:
        frames: in the order of time.
        asked: the times that each of them wants.

    Yields:
        The number of one of them and its pictures, as soon as there are no more for it.
    """
    held: dict[int, list[NDArray[np.uint8]]] = {number: [] for number in range(len(asked))}
    for frame in frames:
        for number in [n for n in held if asked[n][-1] < frame.time_s]:
            yield number, held.pop(number)
        for number, pictures in held.items():
            if frame.time_s in asked[number]:
                pictures.append(frame.rgb)
    yield from held.items()


def _cropped(rgb: NDArray[np.uint8], crop: tuple[float, float, float, float] | None) -> NDArray[np.uint8]:
    """The part of a picture that `Recording` names, at least a pixel."""
    if crop is None:
        return rgb
    height, width = rgb.shape[:2]
    left, top = min(round(crop[0] * width), width - 1), min(round(crop[1] * height), height - 1)
    right, bottom = max(round(crop[2] * width), left + 1), max(round(crop[3] * height), top + 1)
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def content_hash(path: Path) -> str:
    """Hash of a file's bytes, or of a member of a zip archive (``archive.zip/inner/name.jpg``).

    Raises:
        CorpusError: when it cannot be read.
    """
    try:
        if path.exists():
            with path.open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        archive = archive_of(path)
        if archive is None:
            raise CorpusError("no such file", item=path)
        return hashlib.blake2b(read_member(archive, path), digest_size=16).hexdigest()
    except KeyError as error:
        raise CorpusError("the archive has no such member", item=path) from error
    except ArchiveError as error:
        raise CorpusError(f"cannot be read: {error}", item=path) from error
