"""What a caller gives as sound, faces and words, checked and brought into the forms of `make_clip`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from maeum.errors import InputError
from maeum.inputs.faces import stack_faces
from maeum.media.audio import to_mono_16k
from maeum.media.faces import resize_face


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
    return stack_faces([resize_face(_checked_picture(face, f"faces[{i}]")) for i, face in enumerate(faces)])


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
