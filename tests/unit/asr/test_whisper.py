"""The recogniser: how voice is cut, what is kept of what it says, and real speech where its weights were fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from maeum.asr import speech_recognizer
from maeum.asr.whisper import (
    Acceptance,
    _symbols,
    _window_s,
    reading_stretches,
    within_voice,
    without_loops,
    word_spans,
)
from maeum.errors import ConfigError, ModelError
from maeum.types import Word


@pytest.mark.parametrize(("voice", "expected"), [
    ([], []),
    ([(1.0, 2.0)], [(0.8, 2.2)]),
    ([(0.1, 2.0), (2.5, 3.0)], [(0.0, 3.2)]),  # a short pause
    ([(1.0, 2.0), (4.0, 5.0)], [(0.8, 2.2), (3.8, 5.2)]),
    ([(0.0, 8.0), (8.3, 15.0), (15.9, 29.9)], [(0.0, 15.2), (15.7, 30.0)]),  # too long: at the longest pause
    ([(0.0, 30.0)], [(0.0, 15.2), (14.8, 30.0)]),  # without a pause, in equal parts
])  # fmt: skip
def test_stretches_of_voice(voice: Any, expected: Any) -> None:
    found = reading_stretches(voice, 30.0)
    assert [pytest.approx(span) for span in found] == expected
    assert all(end - start + 2.0 <= 30.0 for start, end in found)


def test_windows_have_silence_behind_the_sound() -> None:
    assert [_window_s((0.0, s)) for s in (0.5, 2.0, 2.1, 20.4)] == [4, 4, 6, 24]


def test_loops_are_cut() -> None:
    assert without_loops([1, 2, 3, 1, 2, 3, 1, 2, 3, 1]) == [1, 2, 3]
    assert without_loops([9, 4, 4, 4, 4]) == [9, 4]
    assert without_loops([1, 2, 1, 2, 3, 3]) == [1, 2, 1, 2, 3, 3]
    assert without_loops([]) == []


def bytewise(*pieces: str) -> Tokenizer:
    """A byte-level tokenizer of these pieces."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate([*alphabet, *pieces])}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_tokens_are_joined_to_words() -> None:
    tokenizer = bytewise("Ġcan", "not", "Ġ", "go")
    ids = {piece: tokenizer.token_to_id(piece) for piece in ("Ġcan", "not", "Ġ", "go", ",", ".")}
    tokens = [ids[p] for p in ("Ġcan", "not", ",", "Ġcan", ".")]
    assert word_spans(tokenizer, tokens, spaced=True) == [(0, 3), (3, 5)]
    signs = [tokenizer.token_to_id(c) for c in "ä½łå¥½"]  # two Chinese signs, of three bytes each
    assert word_spans(tokenizer, signs, spaced=False) == [(0, 3), (3, 6)]


@pytest.mark.parametrize(("start", "end", "expected"), [
    (0.0, 2.0, (1.0, 2.0)),  # silence before it
    (1.5, 3.5, (1.5, 3.0)),  # and behind it
    (2.0, 5.0, (2.0, 5.0)),  # a pause within it
    (7.0, 8.0, (7.0, 8.0)),  # where nobody speaks, it stays
])  # fmt: skip
def test_words_begin_and_end_with_the_voice(start: float, end: float, expected: tuple[float, float]) -> None:
    found = within_voice(Word("so", start, end, 0.9), [(1.0, 3.0), (4.5, 6.0)])
    assert (found.start_s, found.end_s) == expected


def test_what_is_unsure_is_no_words() -> None:
    accept = Acceptance()
    assert accept.accepts(0.1, -0.3)
    assert not accept.accepts(0.9, -0.9)
    assert not accept.accepts(0.1, -3.0)


def test_a_tokenizer_without_languages_is_refused() -> None:
    with pytest.raises(ModelError, match="no Whisper for several languages"):
        _symbols(bytewise("x"), {}, "mine")


def test_unknown_recognisers_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown speech recogniser 'wisper'"):
        speech_recognizer("wisper")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelError):
        speech_recognizer(str(tmp_path))
