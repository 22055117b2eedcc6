"""Recognised words: in lines, in segments, in every output; and none where a transcript gives them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from maeum.analysis.recognizer import Recognizer, load
from maeum.analysis.terminal import show_timeline
from maeum.analysis.words import lines_of
from maeum.analysis.writers import WRITERS, from_dict, to_dict
from maeum.asr.base import RecognizedSpeech, SpeechRecognizer
from maeum.errors import ConfigError, InputError, ModelError
from maeum.types import Word


def spoken(*words: tuple[str, float, float]) -> tuple[Word, ...]:
    return tuple(Word(text, start, end, 0.9) for text, start, end in words)


class Listener(SpeechRecognizer):
    """Hears a sentence in the first stretch of voice and nothing in the others."""

    name, licence = "listener", "none"

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def recognize(
        self, samples: NDArray[np.float32], voice: Sequence[Any], language: str | None = None, progress: Any = None
    ) -> RecognizedSpeech:
        self.asked.append((len(samples), tuple(voice), language))
        start, end = voice[0]
        half = (start + end) / 2
        words = spoken(("So", start, half), ("sad.", half, end))
        return RecognizedSpeech(words, language or "en", tuple(voice[1:]))


@pytest.mark.parametrize(("words", "expected"), [
    ([], []),
    ([("I", 0, 0.2), ("am.", 0.2, 0.5), ("You", 0.6, 0.9)], ["I am.", "You"]),  # a sentence
    ([("I", 0, 0.2), ("am", 0.9, 1.2)], ["I", "am"]),  # a pause
    ([(str(i), i, i + 0.9) for i in range(10)], ["0 1 2 3 4 5 6 7", "8 9"]),  # too long
])  # fmt: skip
def test_words_are_put_into_lines(words: Any, expected: list[str]) -> None:
    assert [" ".join(word.text for word in line) for line in lines_of(spoken(*words))] == expected


@pytest.fixture
def recognizer(small_model: Path) -> Recognizer:
    return load(small_model)


@pytest.fixture
def speech(tmp_path: Path, make_media: Any, make_sine: Any) -> Path:
    """Something that moves like a voice, for two seconds, in silence."""
    t = np.arange(32_000) / 16_000
    voice = sum(make_sine(hz, 2.0, 16_000, 0.2) * (1 + np.sin(2 * np.pi * (3 + i) * t)) for i, hz in
                enumerate((200, 700, 1500, 2600)))  # fmt: skip
    sound = np.concatenate([np.zeros(8_000), voice, np.zeros(8_000)]).astype(np.float32)
    return make_media(tmp_path / "speech.wav", sound=sound)


def test_words_are_heard_and_marked_everywhere(recognizer: Recognizer, speech: Path) -> None:
    listener = Listener()
    timeline = recognizer.analyse(speech, asr=listener, language="de")
    ((samples, voice, language),) = listener.asked
    assert (samples, language) == (48_000, "de")
    (segment,) = timeline.segments
    assert segment.text == "So sad."
    assert [word.text for word in segment.words] == ["So", "sad."]
    assert segment.start_s == pytest.approx(voice[0][0])
    assert (timeline.recognizer, timeline.language) == ("listener", "de")
    data = to_dict(timeline)
    assert data["recognizer"] == "listener"
    assert data["segments"][0]["words"][1]["confidence"] == 0.9
    again = from_dict(data)
    assert [w.text for s in again.segments for w in s.words] == ["So", "sad."]
    assert again.recognizer == "listener"
    assert ",So sad.,listener," in WRITERS["csv"].render(timeline, None)
    assert "words recognised by listener (de), which may be wrong" in WRITERS["html"].render(timeline, None)
    shown = io.StringIO()
    show_timeline(timeline, Console(file=shown, width=100))
    assert "words recognised by listener (de), which may be wrong" in shown.getvalue()


def test_a_transcript_wins(recognizer: Recognizer, speech: Path, tmp_path: Path) -> None:
    (tmp_path / "words.srt").write_text("1\n00:00:00,500 --> 00:00:02,500\nleave me alone\n")
    listener = Listener()
    timeline = recognizer.analyse(speech, tmp_path / "words.srt", asr=listener)
    assert listener.asked == []
    assert timeline.recognizer == ""
    assert timeline.segments[0].text == "leave me alone"
    assert timeline.segments[0].words == ()


def test_without_fetched_weights_it_says_how_to_get_words(recognizer: Recognizer, speech: Path) -> None:
    usual, off = recognizer.analyse(speech), recognizer.analyse(speech, asr="off")
    (note,) = set(usual.notes) - set(off.notes)
    assert note == "no words: give a transcript, or have them recognised (`maeum fetch whisper-base`, 147 MB, once)"
    assert [s.prediction for s in usual.segments] == [s.prediction for s in off.segments]


@pytest.mark.parametrize(("asr", "error", "problem"), [
    ("whisper-base", ModelError, "not on this machine"),
    ("wisper", ConfigError, "unknown speech recogniser 'wisper'"),
    (3, InputError, "int is no speech recogniser"),
])  # fmt: skip
def test_a_recogniser_that_is_not_there_is_named(
    recognizer: Recognizer, speech: Path, asr: Any, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        recognizer.analyse(speech, asr=asr)
