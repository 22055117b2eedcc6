"""An utterance's media as the arrays that a store keeps: decoded, cropped and turned into mels once."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from itertools import tee
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from maeum.config import Config
from maeum.corpora.base import LeftOut
from maeum.data.shards import StoreItem
from maeum.errors import CorpusError, InputError, MediaError
from maeum.media.activity import speech_regions
from maeum.media.audio import SAMPLE_RATE_HZ, read_audio
from maeum.media.faces import FaceBox, FaceDetector, centre_crop, crop_face, resize_face
from maeum.media.images import read_image
from maeum.media.info import probe
from maeum.media.speech import mel_pieces
from maeum.media.video import sample_frames
from maeum.types import Modality, Utterance

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class DecodeConfig(Config):
    """How media become arrays; part of what a store is keyed by.

    every_s: seconds between face frames (Dai et al. 2021: 0.5). no_face: a frame without a face is left out, or its
    centre is taken as the published code does. trim_silence: only what is between the first
    and the last voice becomes pieces. precision: of the log-mel pieces on disk; float16 is off by at most 0.4 % of
    power, at half the size.
    """

    every_s: float = Field(default=0.5, gt=0)
    no_face: Literal["leave-out", "centre-crop"] = "leave-out"
    trim_silence: bool = False
    precision: Literal["float16", "float32"] = "float16"


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
        notes: list[str] = []
        faces, pieces = None, None
        if utterance.recording is not None:
            try:
                faces, pieces = self._media(utterance, notes)
            except (MediaError, InputError) as error:
                notes.append(str(error))
        text = utterance.text if "text" in self.modalities and (utterance.text or "").strip() else None
        if faces is None and pieces is None and text is None:
            reason = "; ".join(notes) or f"has none of {', '.join(self.modalities)}"
            return LeftOut(utterance.id, reason, utterance.part)
        return StoreItem(utterance, faces, pieces, content, tuple(notes))

    def _media(self, utterance: Utterance, notes: list[str]) -> tuple[NDArray[np.uint8] | None, NDArray[Any] | None]:
        recording = utterance.recording
        assert recording is not None
        video, audio = recording.video, recording.audio
        if video is not None and (self.faces == "crops" or video.suffix.lower() in _IMAGES):
            return (self._image(video, notes) if "faces" in self.modalities else None), None
        wants_faces = video is not None and self.faces == "detect" and "faces" in self.modalities
        wants_speech = audio is not None and "speech" in self.modalities
        faces, pieces = None, None
        if wants_faces:
            assert video is not None
            info = probe(video)
            wants_speech = wants_speech and (audio != video or info.has_audio)
            if info.has_video:
                faces = self._video(video, utterance, notes)
            else:
                notes.append("no picture")
            if audio == video and not info.has_audio:
                notes.append("no sound")
        if wants_speech:
            assert audio is not None
            pieces = self._speech(audio, utterance, notes)
        return faces, pieces

    def _image(self, path: Path, notes: list[str]) -> NDArray[np.uint8] | None:
        rgb = read_image(path)
        if self.faces == "crops":
            if rgb.shape[:2] != (48, 48):
                rgb = resize_face(rgb)
            return np.ascontiguousarray(rgb.transpose(2, 0, 1)[None])
        return self._stack([self._crop(rgb, self._faces().detect([rgb])[0])], notes)

    def _video(self, path: Path, utterance: Utterance, notes: list[str]) -> NDArray[np.uint8] | None:
        frames = sample_frames(path, every_s=self.config.every_s, start_s=utterance.start_s, end_s=utterance.end_s)
        shown, searched = tee(frames)
        found = self._faces().detect_stream(f.rgb for f in searched)
        crops = [self._crop(frame.rgb, boxes) for frame, boxes in zip(shown, found, strict=True)]
        notes.extend(frames.notes)
        return self._stack(crops, notes)

    def _faces(self) -> FaceDetector:
        if self._detector is None:
            self._detector = FaceDetector()
        return self._detector

    def _crop(self, rgb: NDArray[np.uint8], boxes: Sequence[FaceBox]) -> NDArray[np.uint8] | None:
        """The largest face, ``(48, 48, 3)``; a frame without one gives its centre or nothing."""
        if boxes:
            return crop_face(rgb, max(boxes, key=lambda b: b.width * b.height))
        return centre_crop(rgb) if self.config.no_face == "centre-crop" else None

    def _stack(self, crops: Sequence[NDArray[np.uint8] | None], notes: list[str]) -> NDArray[np.uint8] | None:
        faces = [crop for crop in crops if crop is not None]
        if len(faces) < len(crops):
            notes.append(f"no face in {len(crops) - len(faces)} of {len(crops)} frames")
        return np.ascontiguousarray(np.stack(faces).transpose(0, 3, 1, 2)) if faces else None

    def _speech(self, path: Path, utterance: Utterance, notes: list[str]) -> NDArray[Any] | None:
        audio = read_audio(path, start_s=utterance.start_s, end_s=utterance.end_s)
        notes.extend(audio.notes)
        wave = torch.from_numpy(np.ascontiguousarray(audio.samples))
        if self.config.trim_silence:
            voice = speech_regions(wave) or [(0.0, 0.0)]
            wave = wave[round(voice[0][0] * SAMPLE_RATE_HZ) : round(voice[-1][1] * SAMPLE_RATE_HZ)]
        if not len(wave):
            notes.append("no voice" if self.config.trim_silence else "no sound")
            return None
        pieces: NDArray[Any] = mel_pieces(wave).numpy().astype(self.config.precision)
        return pieces


def content_hash(path: Path) -> str:
    """Hash of a file's bytes, or of a member of a zip archive (``archive.zip/inner/name.jpg``).

    Raises:
        CorpusError: when it cannot be read.
    """
    try:
        if path.exists():
            with path.open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        archive = next((p for p in path.parents if p.suffix.lower() == ".zip" and p.is_file()), None)
        if archive is None:
            raise CorpusError("no such file", item=path)
        opened = _opened(archive, archive.stat().st_mtime_ns, os.getpid())
        return hashlib.blake2b(opened.read(path.relative_to(archive).as_posix()), digest_size=16).hexdigest()
    except KeyError as error:
        raise CorpusError("the archive has no such member", item=path) from error
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise CorpusError(f"cannot be read: {error}", item=path) from error


@lru_cache(maxsize=4)
def _opened(archive: Path, changed_ns: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(archive)
