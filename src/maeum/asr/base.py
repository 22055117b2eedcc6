"""What every speech recogniser is, and the table of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maeum.registry import Registry
from maeum.types import Word

Span = tuple[float, float]
#: Called with the seconds of sound that are recognised, and with all.
Progress = Callable[[float, float], None]


@dataclass(frozen=True)
class RecognizedSpeech:
    """The words of a recording.

    words: in the order of time. language: ISO 639-1 code. rejected: stretches in which nothing could be made out,
    although there is a voice: noise, music, laughter, or a language that the recogniser does not know.
    """

    words: tuple[Word, ...] = ()
    language: str = ""
    rejected: tuple[Span, ...] = ()


class SpeechRecognizer(ABC):
    """Recognises the words of speech. Threads may share one."""

    name: str
    """Its name, for the results."""
    licence: str
    """Of its weights."""

    @abstractmethod
    def recognize(
        self,
        samples: NDArray[np.float32],
        voice: Sequence[Span],
        language: str | None = None,
        progress: Progress | None = None,
    ) -> RecognizedSpeech:
        """The words of a recording; none outside the stretches with voice.

        Args:
            samples: the whole recording, ``(n,)`` at 16 kHz.
            voice: stretches with voice, ``(start_s, end_s)``, ascending.
            language: ISO 639-1 code, such as ``en``; None finds out which one is spoken.
            progress: called with how far it has come.

        Raises:
            InputError: when it does not know the language.
        """


#: Name -> what gives a recogniser: of a folder or a name on the hub where one is given, else the one of that name.
ASR: Registry[Callable[[str | None], SpeechRecognizer]] = Registry("speech recogniser", "maeum.asr")


def speech_recognizer(name: str) -> SpeechRecognizer:
    """A recogniser by its name in the table, or a Whisper by its folder or its name on the hub.

    Raises:
        ConfigError: when there is no such recogniser.
        ModelError: when its weights cannot be had.
    """
    if name not in ASR and ("/" in name or Path(name).is_dir()):
        return ASR["whisper"](name)
    return ASR[name](None)
