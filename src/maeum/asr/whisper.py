"""Words by Whisper (Radford et al. 2023): greedy, only where there is a voice, and nothing that it merely supposes.

Whisper reads windows of 30 s. A stretch of voice is read with a little silence behind it instead of the rest of such a
window, which costs a fraction, and by its own timestamps it is known where it goes beyond the sound.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.asr.alignment import token_steps
from maeum.asr.base import ASR, Progress, RecognizedSpeech, Span, SpeechRecognizer
from maeum.asr.decoder import Decoded, Decoder, Symbols, decode_greedily
from maeum.errors import InputError, ModelError
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.models.encoders.hub import place
from maeum.models.encoders.whisper import encoder_states, log_mel, read_whisper_model
from maeum.models.weights import weights_cache
from maeum.types import Word

if TYPE_CHECKING:
    from tokenizers import Tokenizer

#: Voice with a shorter pause is read together; what is longer than `_LONGEST_S` is cut at its longest pause.
_PAUSE_S, _LONGEST_S = 1.0, 20.0
#: Sound before and behind the voice that is read with it.
_MARGIN_S = 0.2
#: Silence behind it. With less than 2 s Whisper tends to say everything again, until its window is full.
_SILENCE_S, _WINDOW_STEP_S, _WINDOW_S = 2.0, 2.0, 30.0
#: Stretches that are decoded together.
_TOGETHER = 8
#: Tokens at most: speech has about five a second.
_TOKENS_A_S, _TOKENS = 10, 20
#: Steps of the encoder.
_STEP_S = 0.02
#: Written without spaces between words.
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
#: A phrase that comes so often in a row is a loop, of which the first is kept.
_LOOP = 3
_LONGEST_LOOP = 30


@dataclass(frozen=True)
class Acceptance:
    """What is taken for words. Chosen by ``benchmarks/asr.py`` on speech, and on sounds that are none."""

    most_no_speech: float = 0.45
    """Whisper's probability that nobody speaks: 0.44 to 0.9 for music, beeps, breaths and noise, below 0.3 for
    speech."""
    least_log_prob: float = -1.0
    """Mean log-probability of the tokens: -1.3 and less for laughter, above -0.9 for speech."""

    def accepts(self, no_speech: float, log_prob: float) -> bool:
        """Whether a stretch of these is taken for words."""
        return no_speech <= self.most_no_speech and log_prob >= self.least_log_prob


@dataclass(frozen=True)
class Reading:
    """What was made of one stretch, before anything is refused. words: with times from the recording's start."""

    span: Span
    text: str
    words: tuple[Word, ...]
    no_speech: float
    log_prob: float
    accepted: bool


class WhisperRecognizer(SpeechRecognizer):
    """Whisper with its own tokenizer.

    Args:
        name: of fetched weights (`maeum.models.weights`), a folder, or a name on the hub.

    Raises:
        ModelError: when it cannot be had, or is no Whisper for several languages.
    """

    licence = "MIT"

    def __init__(self, name: str) -> None:
        self.name = name
        self.acceptance = Acceptance()
        where = place(name)
        model, files = read_whisper_model(where), settings_beside(where)
        self.encoder, self._decoder = model.model.encoder.eval(), model.model.decoder.eval()
        self.bands = int(model.config.num_mel_bins)
        self.most_tokens = int(model.config.max_target_positions)
        self._tokenizer = _tokenizer(where, name)
        self._symbols, self._languages = _symbols(self._tokenizer, files, name)
        self._heads: list[tuple[int, int]] = [tuple(pair) for pair in files.get("alignment_heads", [])] or [
            (layer, head)
            for layer in range(len(self._decoder.layers) // 2, len(self._decoder.layers))
            for head in range(int(model.config.decoder_attention_heads))
        ]
        self._lock = threading.Lock()

    @property
    def languages(self) -> tuple[str, ...]:
        """Codes of the languages that it knows."""
        return tuple(self._languages)

    def recognize(
        self,
        samples: NDArray[np.float32],
        voice: Sequence[Span],
        language: str | None = None,
        progress: Progress | None = None,
    ) -> RecognizedSpeech:
        """See `SpeechRecognizer`."""
        self._check_language(language)
        with self._lock, torch.inference_mode():
            language, readings = self._inspect(samples, voice, language, progress)
        return RecognizedSpeech(
            tuple(within_voice(word, voice) for reading in readings if reading.accepted for word in reading.words),
            language,
            tuple(reading.span for reading in readings if reading.text and not reading.accepted),
        )

    def inspect(
        self, samples: NDArray[np.float32], voice: Sequence[Span], language: str | None = None
    ) -> list[Reading]:
        """What is made of each stretch, with what is refused; see `recognize` for the arguments."""
        self._check_language(language)
        with self._lock, torch.inference_mode():
            return self._inspect(samples, voice, language, None)[1]

    def _check_language(self, language: str | None) -> None:
        if language is not None and language not in self._languages:
            raise InputError(
                f"Whisper knows no language {language!r}", item="language",
                remedy=f"Give a code such as {', '.join(list(self._languages)[:5])}.",
            )  # fmt: skip

    def _inspect(
        self, samples: NDArray[np.float32], voice: Sequence[Span], language: str | None, progress: Progress | None
    ) -> tuple[str, list[Reading]]:
        """The language, and what is made of each stretch, in the order of time."""
        stretches = reading_stretches(voice, len(samples) / SAMPLE_RATE_HZ)
        windows: dict[int, list[Span]] = {}
        for span in stretches:
            windows.setdefault(_window_s(span), []).append(span)
        groups = [
            (window, spans[i : i + _TOGETHER])
            for window, spans in sorted(windows.items())
            for i in range(0, len(spans), _TOGETHER)
        ]
        language = language or self._language(samples, groups)
        readings: list[Reading] = []
        done, total = 0.0, sum(end - start for start, end in stretches)
        for window, spans in groups:
            readings += self._read(samples, window, spans, language)
            done += sum(end - start for start, end in spans)
            if progress is not None:
                progress(done, total)
        return language, sorted(readings, key=lambda reading: reading.span)

    def _encode(self, samples: NDArray[np.float32], window_s: int, spans: Sequence[Span]) -> Tensor:
        """Stretches with silence behind them, ``(batch, steps, dim)``."""
        wave = torch.zeros(len(spans), window_s * SAMPLE_RATE_HZ)
        for row, (start, end) in enumerate(spans):
            part = torch.from_numpy(samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)])
            wave[row, : len(part)] = part[: wave.shape[1]]
        mel, frames = log_mel(wave, torch.full((len(spans),), wave.shape[1]), self.bands)
        encoded: Tensor = self.encoder.layer_norm(encoder_states(self.encoder, mel, frames)[0][-1])
        return encoded

    def _language(self, samples: NDArray[np.float32], groups: Sequence[tuple[int, Sequence[Span]]]) -> str:
        """The language that is likeliest over the longest stretches; English where there is none."""
        if not groups:
            return "en"
        window, spans = groups[-1]
        logits = self._start(self._encode(samples, window, spans), 1)[1]
        ids = torch.tensor(list(self._languages.values()))
        likely = logits[:, ids].log_softmax(-1).sum(0)
        return list(self._languages)[int(likely.argmax())]

    def _start(self, encoded: Tensor, most: int) -> tuple[Decoder, Tensor]:
        """A decoder that has read the start token, and the logits behind it, ``(batch, vocabulary)``."""
        decoder = Decoder(self._decoder, encoded, most)
        return decoder, decoder.read(torch.full((len(encoded), 1), self._symbols.start))[:, -1].float()

    def _read(self, samples: NDArray[np.float32], window_s: int, spans: Sequence[Span], language: str) -> list[Reading]:
        """What is made of stretches of like length."""
        encoded = self._encode(samples, window_s, spans)
        lengths_s = torch.tensor([end - start for start, end in spans])
        most = min(self.most_tokens - 4, _TOKENS + math.ceil(float(lengths_s.max()) * _TOKENS_A_S))
        decoder, logits = self._start(encoded, most + 4)
        no_speech = logits.softmax(-1)[:, self._symbols.no_speech].tolist()
        prompt = torch.tensor([[self._languages[language], self._symbols.transcribe]]).expand(len(spans), -1)
        decoded = decode_greedily(decoder, self._symbols, prompt, lengths_s, most)
        texts = [self._text_tokens(one) for one in decoded]
        steps = self._times(encoded, [tokens for tokens, _ in texts], lengths_s, language)
        readings = []
        for span, one, (tokens, own), times, silent in zip(spans, decoded, texts, steps, no_speech, strict=True):
            log_prob = float(np.mean(one.log_probs))
            text = self._tokenizer.decode(tokens).strip()
            accepted = _has_words(text) and self.acceptance.accepts(silent, log_prob)
            words = tuple(self._words(tokens, own, times, span, language)) if tokens else ()
            readings.append(Reading(span, text, words, silent, log_prob, accepted))
        return readings

    def _text_tokens(self, decoded: Decoded) -> tuple[list[int], list[float]]:
        """The text's tokens without timestamps and loops, and their log-probabilities."""
        pairs = [(t, p) for t, p in zip(decoded.tokens, decoded.log_probs, strict=False) if t < self._symbols.end]
        kept = without_loops([token for token, _ in pairs])
        return kept, [p for _, p in pairs[: len(kept)]]

    def _times(self, encoded: Tensor, texts: Sequence[list[int]], lengths_s: Tensor, language: str) -> list[list[int]]:
        """For each stretch, the step at which each token begins, and that at which the last ends."""
        known = self._symbols
        start = [known.start, self._languages[language], known.transcribe, known.first_timestamp]
        longest = max(map(len, texts), default=0)
        if not longest:
            return [[] for _ in texts]
        rows = [[*start, *text, *[known.end] * (longest - len(text) + 1)] for text in texts]
        decoder = Decoder(self._decoder, encoded, len(rows[0]))
        decoder.read(torch.tensor(rows), attend=True)
        attention = torch.stack([decoder.attended[layer][:, head] for layer, head in self._heads], 1)
        found = []
        for row, text in enumerate(texts):
            steps = min(attention.shape[3], max(1, round(float(lengths_s[row]) / _STEP_S)))
            # Row i attends to what is spoken next: token i + 1. One row more is where the last one ends.
            own = attention[row, :, len(start) - 1 : len(start) + len(text), :steps]
            found.append(token_steps(own / own.sum(-1, keepdim=True).clamp(min=1e-8)) if text else [])
        return found

    def _words(
        self, tokens: list[int], log_probs: list[float], steps: list[int], span: Span, language: str
    ) -> list[Word]:
        """Tokens as words with times and confidences."""
        words: list[Word] = []
        for first, last in word_spans(self._tokenizer, tokens, spaced=language not in _UNSPACED):
            text = self._tokenizer.decode(tokens[first:last]).strip()
            start, end = (span[0] + steps[i] * _STEP_S for i in (first, last))
            if text:
                confidence = math.exp(sum(log_probs[first:last]) / (last - first))
                words.append(Word(text, start, min(max(end, start + _STEP_S), span[1]), min(confidence, 1.0)))
        return words


def within_voice(word: Word, voice: Sequence[Span]) -> Word:
    """A word without the silence before or behind it that attention counts to it."""
    parts = [(max(a, word.start_s), min(b, word.end_s)) for a, b in voice if b > word.start_s and a < word.end_s]
    parts = [(a, b) for a, b in parts if b - a >= _STEP_S]
    if not parts:
        return word
    return replace(word, start_s=parts[0][0], end_s=max(b for _, b in parts))


def _has_words(text: str) -> bool:
    """Whether there is a letter or a digit in it; accents that stand alone are none."""
    return any((c.isalpha() and unicodedata.category(c) != "Lm") or c.isdigit() for c in text)


def reading_stretches(voice: Sequence[Span], length_s: float) -> list[Span]:
    """Stretches of voice that are read together: joined over short pauses, and cut where they are too long."""
    joined: list[list[Span]] = []
    for start, end in sorted(voice):
        if joined and start - joined[-1][-1][1] < _PAUSE_S:
            joined[-1].append((start, end))
        else:
            joined.append([(start, end)])
    spans = [span for parts in joined for span in _cut(parts)]
    return [(max(0.0, a - _MARGIN_S), min(length_s, b + _MARGIN_S)) for a, b in spans if b > a]


def _cut(parts: list[Span]) -> list[Span]:
    """Neighbouring stretches of voice as spans of at most `_LONGEST_S`, cut at the longest pause."""
    start, end = parts[0][0], parts[-1][1]
    if end - start <= _LONGEST_S:
        return [(start, end)]
    if len(parts) == 1:
        count = math.ceil((end - start) / _LONGEST_S)
        edges = np.linspace(start, end, count + 1).tolist()
        return list(itertools.pairwise(edges))
    pause = max(range(1, len(parts)), key=lambda i: parts[i][0] - parts[i - 1][1])
    return _cut(parts[:pause]) + _cut(parts[pause:])


def _window_s(span: Span) -> int:
    """How much Whisper reads of a stretch with its silence, in whole seconds."""
    needed = (span[1] - span[0] + _SILENCE_S) / _WINDOW_STEP_S
    return int(min(math.ceil(needed) * _WINDOW_STEP_S, _WINDOW_S))


def without_loops(tokens: list[int]) -> list[int]:
    """Tokens up to a phrase that comes `_LOOP` times or more in a row, with the first of these."""
    for at in range(len(tokens)):
        for size in range(1, min(_LONGEST_LOOP, (len(tokens) - at) // _LOOP) + 1):
            phrase = tokens[at : at + size]
            if all(tokens[at + k * size : at + (k + 1) * size] == phrase for k in range(1, _LOOP)):
                return tokens[: at + size]
    return tokens


def word_spans(tokenizer: Tokenizer, tokens: list[int], *, spaced: bool) -> list[tuple[int, int]]:
    """Which tokens make a word, ``[first, last)``: those up to a space, or single signs in unspaced scripts."""
    whole: list[tuple[int, int, str]] = []
    first = 0
    for last in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[first:last])
        if "\ufffd" not in text or last == len(tokens):  # else a sign of several tokens is not complete yet
            whole.append((first, last, text))
            first = last
    spans: list[tuple[int, int]] = []
    for first, last, text in whole:
        sign = not any(c.isalnum() for c in text)
        if spans and ((sign and text.strip()) or (spaced and not text.startswith(" "))):
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans


def _tokenizer(folder: str, name: str) -> Tokenizer:
    from tokenizers import Tokenizer

    file = Path(folder) / "tokenizer.json"
    if not file.is_file():
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError

        try:
            file = Path(hf_hub_download(folder, "tokenizer.json"))
        except (OSError, ValueError, HfHubHTTPError) as error:
            raise ModelError("has no tokenizer.json", item=name) from error
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:
        raise ModelError(f"its tokenizer.json cannot be read ({error})", item=name) from error


def _symbols(tokenizer: Tokenizer, files: dict[str, Any], name: str) -> tuple[Symbols, dict[str, int]]:
    """The tokens that are not text, and the languages' tokens."""
    known: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    try:
        start, end, transcribe = (known[f"<|{t}|>"] for t in ("startoftranscript", "endoftext", "transcribe"))
        no_times = known["<|notimestamps|>"]
        no_speech = known.get("<|nospeech|>", known.get("<|nocaptions|>"))
        translate = known["<|translate|>"]
    except KeyError as error:
        raise ModelError(f"is no Whisper for several languages: its tokenizer has no {error}", item=name) from error
    if no_speech is None:
        raise ModelError("is no Whisper for several languages: its tokenizer has no <|nospeech|>", item=name)
    languages = {
        token[2:-2]: number
        for token, number in sorted(known.items(), key=lambda pair: pair[1])
        if start < number < min(transcribe, translate) and token.startswith("<|")
    }
    never = {start, no_times, no_speech, transcribe, translate, *languages.values()}
    never |= {known[token] for token in ("<|startoflm|>", "<|startofprev|>") if token in known}
    suppressed = tuple(sorted({*files.get("suppress_ids", ()), *never} - {-1}))
    first = tuple(files.get("suppress_ids_begin", ())) or (known.get("\u0120", end), end)
    return Symbols(start, end, transcribe, no_speech, no_times + 1, suppressed, first), languages


def settings_beside(folder: str) -> dict[str, Any]:
    """What ``config.json`` of CTranslate2, or ``generation_config.json`` of transformers, says of decoding."""
    for file, names in (
        ("generation_config.json", {"suppress_tokens": "suppress_ids", "begin_suppress_tokens": "suppress_ids_begin",
                                    "alignment_heads": "alignment_heads"}),
        ("config.json", {n: n for n in ("suppress_ids", "suppress_ids_begin", "alignment_heads")}),
    ):  # fmt: skip
        path = Path(folder) / file
        if path.is_file():
            data = json.loads(path.read_text("utf-8"))
            return {ours: data[theirs] for theirs, ours in names.items() if data.get(theirs)}
    return {}


@ASR.register("whisper")
@ASR.register("whisper-base")
def _whisper(name: str | None) -> SpeechRecognizer:
    name = name or "whisper-base"
    return _kept(name, weights_cache(name))


@lru_cache(maxsize=2)
def _kept(name: str, cache: Path) -> WhisperRecognizer:
    """The recogniser, the same one for all recordings of a process; ``cache``: where fetched weights lie."""
    return WhisperRecognizer(name)
