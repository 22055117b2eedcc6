"""What is given to a recogniser, checked, as the tensors a model reads; what cannot be used says why."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.errors import InputError
from maeum.media.activity import speech_regions, voiced_part
from maeum.media.audio import SAMPLE_RATE_HZ, to_mono_16k
from maeum.media.faces import resize_face
from maeum.media.mel import to_mel_chunks
from maeum.models.pretrained import InputSettings
from maeum.types import MODALITIES, Clip, Modality

#: Sound shorter than this says nothing about a voice; sound that never rises above this level is silence.
SHORTEST_S, SILENCE_DBFS = 0.2, -90.0
NO_VOICE = "there is sound, but no voice was found in it"
#: A face picture whose standard deviation, of 255 grey levels, is not above this shows nothing.
FLATTEST = 1.0
_LEVEL_WINDOW_S = 0.05
MEL_CHUNK_S = 0.4


@dataclass(frozen=True)
class Evidence:
    """What there is to go on for one prediction.

    clip: the tensors. problems: for each modality that was given and cannot be used, why. notes: what to know about the
    rest.
    """

    clip: Clip
    problems: dict[Modality, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def limited_to(self, readable: Iterable[Modality]) -> Evidence:
        """Without the modalities that a model does not read; each becomes a problem."""
        unread = [m for m in self.clip.modalities if m not in tuple(readable)]
        clip = replace(
            self.clip,
            faces=None if "faces" in unread else self.clip.faces,
            mel_chunks=None if "speech" in unread else self.clip.mel_chunks,
            wave=None if "speech" in unread else self.clip.wave,
            text=None if "text" in unread else self.clip.text,
        )
        problems = self.problems | {m: f"this model does not read {_NOUN[m]}" for m in unread}
        return replace(self, clip=clip, problems=problems)

    def explain(self) -> tuple[str, ...]:
        """The problems in words, in the order of modalities."""
        return tuple(self.problems[m] for m in MODALITIES if m in self.problems)


_NOUN: dict[Modality, str] = {"faces": "faces", "speech": "voices", "text": "words"}


def collect(
    id: str,
    *,
    faces: Tensor | None = None,
    wave: Tensor | None = None,
    text: str | None = None,
    settings: InputSettings,
    problems: dict[Modality, str] | None = None,
) -> Evidence:
    """Evidence from checked input.

    Args:
        id: names the clip.
        faces: ``(n, 3, 48, 48)`` uint8, or None when none were asked for; empty when none were found.
        wave: ``(n,)`` float32 at 16 kHz, or None.
        text: words, or None.
        settings: how the model wants its input.
        problems: what is already known to be unusable.
    """
    problems = dict(problems or {})
    notes: list[str] = []
    if faces is not None and len(faces) == 0:
        problems.setdefault("faces", "no face")
        faces = None
    if faces is not None:
        faces, blank = _with_features(faces)
        if faces is None:
            problems["faces"] = "no face: the picture is of one colour"
        elif blank:
            notes.append(f"{blank} pictures of one colour were left out")
    mel_chunks, heard = None, None
    if wave is not None and (problem := _why_nothing_is_heard(wave)):
        problems["speech"] = problem
    elif wave is not None:
        heard = _trimmed(wave) if settings.trim_silence else wave
        length_s, most_s = len(heard) / SAMPLE_RATE_HZ, settings.max_mel_chunks * MEL_CHUNK_S
        if length_s > most_s:
            notes.append(f"of {length_s:.0f} s of sound the middle {most_s:.0f} s were used")
        if settings.sound == "mel_chunks":
            mel_chunks, heard = to_mel_chunks(heard), None
    if text is not None and not _has_words(text):
        problems["text"] = "no words: the text is empty" if not text.strip() else "no words: the text has only signs"
        text = None
    return Evidence(Clip(id, faces, mel_chunks, text, wave=heard), problems, tuple(notes))


def _with_features(faces: Tensor) -> tuple[Tensor | None, int]:
    """The pictures that show anything, None if there are none, and how many show nothing."""
    shows = faces.float().std(dim=(1, 2, 3)) > FLATTEST
    return (faces[shows] if bool(shows.any()) else None), int((~shows).sum())


def _has_words(text: str) -> bool:
    """Whether there are letters, digits or emoji."""
    return any(sign.isalnum() or unicodedata.category(sign) == "So" for sign in text)


def _trimmed(wave: Tensor) -> Tensor:
    """What is between the first and the last voice, or all of it where that is next to nothing."""
    part = voiced_part(wave)
    return part if len(part) >= SHORTEST_S * SAMPLE_RATE_HZ else wave


def why_no_speech(wave: Tensor) -> str | None:
    """Why sound holds nothing to judge a voice by (too short, silent, nobody speaks), or None where it may.

    Args:
        wave: ``(n,)`` float32 at 16 kHz.
    """
    problem = _why_nothing_is_heard(wave)
    if problem is None and not speech_regions(wave):
        problem = f"no speech: {NO_VOICE}"
    return problem


def _why_nothing_is_heard(wave: Tensor) -> str | None:
    seconds = len(wave) / SAMPLE_RATE_HZ
    if seconds < SHORTEST_S:
        return f"no speech: {seconds:.2f} s of sound is too short"
    return "no speech: the sound is silent" if loudest_dbfs(wave) < SILENCE_DBFS else None


def loudest_dbfs(wave: Tensor) -> float:
    """Level of the loudest 50 ms, in decibels below full scale; minus infinity for digital silence."""
    window = max(1, round(_LEVEL_WINDOW_S * SAMPLE_RATE_HZ))
    if not len(wave):
        return -math.inf
    whole = torch.nn.functional.pad(wave.double(), (0, -len(wave) % window)).view(-1, window)
    power = float((whole - whole.mean(1, keepdim=True)).square().mean(1).max())
    return 10 * math.log10(power) if power > 0 else -math.inf


def check_audio(audio: object, sample_rate_hz: object) -> NDArray[np.float32]:
    """Sound given by a caller as 16 kHz mono ``(n,)``; empty input stays empty.

    Raises:
        InputError: when it is not sound, or the rate is missing or wrong.
    """
    if sample_rate_hz is None:
        raise InputError("audio was given without its rate", item="sample_rate_hz",
                         remedy="Add sample_rate_hz=, such as 16000 or 48000.")  # fmt: skip
    samples = _array(audio, "audio", "Give a float array of shape (samples,) or (channels, samples).")
    if samples.ndim == 2 and samples.shape[0] > samples.shape[1] > 0:
        raise InputError(f"shape {samples.shape} looks like (samples, channels)", item="audio",
                         remedy="Channels come first: transpose it with audio.T.")  # fmt: skip
    if samples.ndim in (1, 2) and samples.size == 0:
        to_mono_16k(np.zeros(1, np.float32), sample_rate_hz)  # type: ignore[arg-type]  # the rate is checked all the same
        return np.zeros(0, np.float32)
    if samples.dtype.kind == "f" and np.isfinite(samples).all() and np.abs(samples).max() > 16:
        raise InputError(f"values up to {np.abs(samples).max():g} are not sound at full scale 1.0", item="audio",
                         remedy="Divide 16-bit samples by 32768, or give them as int16.")  # fmt: skip
    return to_mono_16k(samples, sample_rate_hz)  # type: ignore[arg-type]


def check_faces(faces: object) -> Tensor:
    """Face pictures given by a caller as ``(n, 3, 48, 48)`` uint8; an empty list gives ``n = 0``.

    Raises:
        InputError: when it is not a sequence of RGB uint8 pictures; names the first that is not.
    """
    remedy = "Give a list of RGB pictures, uint8, of shape (height, width, 3)."
    if isinstance(faces, str | bytes | dict) or not isinstance(faces, Iterable):
        raise InputError(f"{type(faces).__name__} is not a list of pictures", item="faces", remedy=remedy)
    if isinstance(faces, np.ndarray | Tensor) and faces.ndim in (2, 3):
        raise InputError("is one picture", item="faces", remedy="Put it in a list: faces=[picture].")
    crops = [resize_face(_checked_picture(face, f"faces[{i}]")) for i, face in enumerate(faces)]
    if not crops:
        return torch.zeros(0, 3, 48, 48, dtype=torch.uint8)
    return torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)))


def _checked_picture(face: object, name: str) -> NDArray[np.uint8]:
    picture = _array(face, name, "Give uint8 of shape (height, width, 3).")
    shape, problem, remedy = picture.shape, "", ""
    if picture.ndim == 3 and shape[0] in (1, 3) and shape[2] not in (3, 4):
        problem, remedy = "has its channels first", "Give (height, width, 3): transpose(1, 2, 0)."
    elif picture.ndim == 2 or (picture.ndim == 3 and shape[2] == 1):
        problem, remedy = "is grey", "Repeat it over three channels: numpy.stack([grey] * 3, -1)."
    elif picture.ndim == 3 and shape[2] == 4:
        problem, remedy = "has four channels", "Leave out the alpha channel: picture[..., :3]."
    elif picture.ndim != 3 or shape[2] != 3:
        problem, remedy = "is not a picture", "Give uint8 of shape (height, width, 3)."
    elif picture.size == 0:
        problem, remedy = "has no pixels", "Leave it out."
    elif picture.dtype != np.uint8:
        problem = "is not uint8"
        small = picture.dtype.kind == "f" and np.nanmax(picture) <= 1.0
        remedy = (
            "Values 0..1: give (picture * 255).astype('uint8')."
            if small
            else "Values 0..255: give picture.astype('uint8')."
        )
    if problem:
        raise InputError(f"{problem} (shape {shape}, {picture.dtype})", item=name, remedy=remedy)
    return picture


def check_text(text: object) -> str:
    """Words given by a caller; raises InputError when they are not a string."""
    if not isinstance(text, str):
        raise InputError(
            f"{type(text).__name__} is not a string", item="text", remedy="Give one str; join several with spaces."
        )
    return text


def _array(thing: object, name: str, remedy: str) -> NDArray[Any]:
    if isinstance(thing, Tensor):
        thing = thing.detach().cpu().numpy()
    try:
        array = np.asarray(thing)
    except (ValueError, TypeError) as error:
        raise InputError(f"{type(thing).__name__} is not an array ({error})", item=name, remedy=remedy) from error
    if array.dtype.kind not in "fiub" or array.dtype.kind == "b":
        raise InputError(f"{type(thing).__name__} of {array.dtype} holds no numbers", item=name, remedy=remedy)
    return array
