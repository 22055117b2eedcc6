"""What a speech recogniser makes of sounds that are no speech, and of speech in noise.

    python benchmarks/asr.py sounds [--asr whisper-base]
    python benchmarks/asr.py speech STORE [--part dev] [--items 60] [--snr 10]

``sounds`` makes 64 sounds on the spot (silence, noise of several colours, music, beeps, breaths, laughter), and prints
for each what Whisper says of it before anything is refused, and whether it is refused; words in any of them end with
1. ``speech`` prints the word error rate of a store's utterances, as they are or with white noise, and how sure Whisper
is of them. From both together the limits in `maeum.asr.whisper.Acceptance` were chosen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from maeum.asr import speech_recognizer
from maeum.asr.whisper import WhisperRecognizer
from maeum.media.activity import speech_regions

RATE = 16_000
Sound = NDArray[np.float32]


def noise(rng: np.random.Generator, seconds: float, colour: float) -> Sound:
    """Noise whose power falls with frequency to the power of ``colour``."""
    spectrum = np.fft.rfft(rng.normal(size=round(seconds * RATE)))
    spectrum *= np.arange(1, len(spectrum) + 1) ** (-colour / 2)
    wave = np.fft.irfft(spectrum)
    return (0.1 * wave / np.abs(wave).max()).astype(np.float32)


def tone(hz: float, seconds: float, harmonics: int = 1, vibrato: float = 0.0) -> Sound:
    """A tone with harmonics that fall off, faded in and out."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * hz * t + vibrato * np.sin(2 * np.pi * 5 * t)
    wave = sum(np.sin(k * phase) / k**1.5 for k in range(1, harmonics + 1))
    fade = np.minimum(1, np.minimum(t, t[::-1]) / 0.03)
    return (0.2 * wave * fade).astype(np.float32)


def music(rng: np.random.Generator, seconds: float) -> Sound:
    """A melody over chords, with a drum."""
    scale = 220 * 2 ** (np.array([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    beats = round(seconds * 2)
    melody = np.concatenate([tone(rng.choice(scale) * 2, 0.5, 6, rng.uniform(0, 2)) for _ in range(beats)])
    chords = np.concatenate([
        tone(root, 2.0, 8) + tone(root * 1.26, 2.0, 8) + tone(root * 1.5, 2.0, 8)
        for root in rng.choice(scale[:6], -(-beats // 4)) / 2
    ])[: len(melody)]  # fmt: skip
    drum = np.tile(noise(rng, 0.1, 0) * np.exp(-np.arange(round(0.1 * RATE)) / 300), beats * 5)[: len(melody)]
    gate = (np.arange(len(melody)) % (RATE // 2)) < RATE // 10
    return (melody + 0.4 * chords + drum * gate).astype(np.float32)


def breaths(rng: np.random.Generator, seconds: float) -> Sound:
    """Breathing in and out: soft noise of the formants of an open mouth."""
    t = np.arange(round(seconds * RATE)) / RATE
    swell = np.maximum(0, np.sin(2 * np.pi * t / rng.uniform(1.2, 2.5))) ** 2
    hiss = noise(rng, seconds + 0.01, rng.uniform(0.3, 1.2))[: len(t)]
    return (hiss * swell).astype(np.float32)


def laughter(rng: np.random.Generator, seconds: float) -> Sound:
    """Voiced bursts, five a second, that fall in pitch."""
    wave = np.zeros(round(seconds * RATE), np.float32)
    at, pitch = 0.2, rng.uniform(180, 380)
    while at < seconds - 0.2:
        burst = tone(pitch, 0.11, 12) + noise(rng, 0.11, 0.5)
        wave[round(at * RATE) : round(at * RATE) + len(burst)] += burst
        at, pitch = at + rng.uniform(0.17, 0.23), max(120.0, pitch * rng.uniform(0.93, 1.0))
        if rng.random() < 0.1:
            at, pitch = at + 0.6, rng.uniform(180, 380)
    return wave


def beeps(rng: np.random.Generator, seconds: float) -> Sound:
    """Tones of one pitch or of a telephone's keys, with pauses."""
    parts: list[Sound] = []
    while sum(map(len, parts)) < seconds * RATE:
        parts += [tone(rng.choice([440, 697, 941, 1000]), 0.2) + tone(rng.choice([440, 1209, 1477, 1000]), 0.2)]
        parts += [np.zeros(round(rng.uniform(0.1, 0.6) * RATE), np.float32)]
    return np.concatenate(parts)


def sounds() -> Iterator[tuple[str, Sound]]:
    """Names and sounds."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        seconds = float(rng.uniform(2, 14))
        for colour in (0, 1, 2)[seed % 3 : seed % 3 + 1]:
            yield f"noise of colour {colour}", noise(rng, seconds, colour)
        yield "music", music(rng, seconds)
        yield "breaths", breaths(rng, seconds)
        yield "laughter", laughter(rng, seconds)
        yield "beeps", beeps(rng, seconds)
        hiss = noise(rng, seconds, 1.0)
        yield "noise that swells", hiss * np.abs(np.sin(np.arange(len(hiss)) / RATE * 9)).astype(np.float32)
    for seconds in (1, 5, 12, 40):
        yield "silence", np.zeros(seconds * RATE, np.float32)


def show_sounds(recognizer: WhisperRecognizer) -> int:
    """Print what is made of each sound; how many have words."""
    found = 0
    for number, (name, wave) in enumerate(sounds(), start=1):
        voice = speech_regions(torch.from_numpy(wave))
        print(f"{number:2} {name}, {len(wave) / RATE:.1f} s: {len(voice)} stretches of voice")
        for forced, regions in ((False, voice), (True, [(0.0, len(wave) / RATE)])):
            for seen in recognizer.inspect(wave, regions):
                kept = seen.accepted and bool(seen.text)
                found += kept
                which = "although there is no voice" if forced else "as voice"
                print(f"     {which}: no speech {seen.no_speech:.2f}, log-probability {seen.log_prob:.2f}, "
                      f"{'WORDS' if kept else 'refused'}: {seen.text[:60]!r}")  # fmt: skip
    print(f"{found} stretches with words")
    return found


def show_speech(recognizer: WhisperRecognizer, store: str, part: str, items: int, snr_db: float | None) -> None:
    """Print the word error rate of a store's utterances."""
    from jiwer import wer

    from maeum.data.store import Store, spoken_text_of
    from maeum.models.encoders.character_vocabulary import units

    corpus = Store(store)
    rng = np.random.default_rng(0)
    numbers = [i for i, row in enumerate(corpus.rows) if row["part"] == part and spoken_text_of(row)]
    known, recognised, sure = [], [], []
    for number in numbers[:: max(1, len(numbers) // items)][:items]:
        wave = corpus.wave(number)
        assert wave is not None
        if snr_db is not None:
            level = np.sqrt(np.mean(wave**2)) / 10 ** (snr_db / 20)
            wave = (wave + level * rng.normal(size=len(wave))).astype(np.float32)
        voice = speech_regions(torch.from_numpy(wave))
        known.append("".join(units(spoken_text_of(corpus.rows[number]))).strip())
        readings = recognizer.inspect(wave, voice)
        recognised.append("".join(units(" ".join(r.text for r in readings if r.accepted))).strip())
        sure += [(r.no_speech, r.log_prob) for r in readings]
    print(f"word error rate {wer(known, recognised):.4f} of {len(known)} utterances")
    silent, likely = np.array(sure).T
    print(f"no speech: 95 % below {np.quantile(silent, 0.95):.2f}, highest {silent.max():.2f}; "
          f"log-probability: 95 % above {np.quantile(likely, 0.05):.2f}, lowest {likely.min():.2f}")  # fmt: skip


def main() -> int:
    """Run what the command line says."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", choices=["sounds", "speech"])
    options.add_argument("store", nargs="?")
    options.add_argument("--asr", default="whisper-base")
    options.add_argument("--part", default="dev")
    options.add_argument("--items", type=int, default=60)
    options.add_argument("--snr", type=float)
    given = options.parse_args()
    recognizer = speech_recognizer(given.asr)
    assert isinstance(recognizer, WhisperRecognizer)
    if given.what == "sounds":
        return int(show_sounds(recognizer) > 0)
    show_speech(recognizer, given.store, given.part, given.items, given.snr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
