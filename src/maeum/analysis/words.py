"""The words of a recording that comes without a transcript: recognised, and put into lines like those of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from maeum.analysis.recording import Progress, RecordingAudio
from maeum.asr import SpeechRecognizer, speech_recognizer
from maeum.errors import InputError
from maeum.media.text import TranscriptLine
from maeum.models.weights import WEIGHTS, is_fetched
from maeum.types import Segment, Word
from maeum.wording import counted

#: The recogniser that is used where its weights were fetched and no other is named.
USUAL = "whisper-base"
#: What may stand for a recogniser: the usual one if there is one, and none.
AUTO, OFF = "auto", "off"
#: A longer pause ends a line, as does the end of a sentence; a line is not longer than so many seconds.
_PAUSE_S, _LONGEST_S = 0.6, 8.0
_ENDS = (".", "?", "!", "\u2026", "\u3002", "\uff1f", "\uff01")  # the last three are Chinese and Japanese


@dataclass(frozen=True)
class RecognizedWords:
    """What was recognised in a recording. lines: as of a transcript. words: of all lines, in the order of time."""

    lines: tuple[TranscriptLine, ...] = ()
    words: tuple[Word, ...] = ()
    recognizer: str = ""
    language: str = ""
    notes: tuple[str, ...] = ()


def choose_recognizer(asr: str | SpeechRecognizer | None) -> SpeechRecognizer | None:
    """The recogniser that is meant; None for none.

    Args:
        asr: one, or the name of one (`speech_recognizer`); ``auto`` is `USUAL` where it was fetched, else none;
            ``off`` and None are none.

    Raises:
        InputError: when it is something else.
        ConfigError: when there is none of that name.
        ModelError: when its weights cannot be had.
    """
    if asr is None or asr == OFF or (asr == AUTO and not is_fetched(USUAL)):
        return None
    if isinstance(asr, SpeechRecognizer):
        return asr
    if not isinstance(asr, str):
        raise InputError(f"{type(asr).__name__} is no speech recogniser", item="asr",
                         remedy=f"Give a name such as {USUAL!r}, {AUTO!r} or {OFF!r}.")  # fmt: skip
    return speech_recognizer(USUAL if asr == AUTO else asr)


def why_no_words(asr: str | SpeechRecognizer | None) -> tuple[str, ...]:
    """How to get words, for a recording with a voice and no transcript, where ``auto`` found no recogniser."""
    known = WEIGHTS[USUAL]
    how = f"`maeum fetch {USUAL}`, {known.size / 1e6:.0f} MB, once"
    return (f"no words: give a transcript, or have them recognised ({how})",) if asr == AUTO else ()


def recognize_words(
    audio: RecordingAudio, recognizer: SpeechRecognizer, language: str | None, progress: Progress
) -> RecognizedWords:
    """The words of a recording with a voice.

    Raises:
        InputError: when the recogniser does not know the language.
    """
    found = recognizer.recognize(
        audio.samples, audio.voice, language, lambda done_s, all_s: progress("words", done_s, all_s)
    )
    notes = []
    if found.rejected:
        notes.append(f"no words could be made out in {counted(len(found.rejected), 'stretch')} of voice, "
                     f"{sum(b - a for a, b in found.rejected):.1f} s in all")  # fmt: skip
    lines = tuple(
        TranscriptLine(" ".join(w.text for w in words), words[0].start_s, words[-1].end_s)
        for words in lines_of(found.words)
    )
    return RecognizedWords(
        lines, found.words, recognizer.name if lines else "", found.language if lines else "", tuple(notes)
    )


def lines_of(words: Sequence[Word]) -> list[list[Word]]:
    """Words in lines: a line ends at a pause, at the end of a sentence, and before it gets too long."""
    lines: list[list[Word]] = []
    for word in words:
        line = lines[-1] if lines else []
        ended = not line or word.start_s - line[-1].end_s >= _PAUSE_S or line[-1].text.endswith(_ENDS)
        if ended or word.end_s - line[0].start_s > _LONGEST_S:
            lines.append([word])
        else:
            line.append(word)
    return lines


def with_words(segments: Sequence[Segment], words: Sequence[Word]) -> list[Segment]:
    """The segments that have a text, each with the recognised words in it."""
    return [
        replace(s, words=tuple(w for w in words if s.start_s <= (w.start_s + w.end_s) / 2 < s.end_s)) if s.text else s
        for s in segments
    ]
