"""How often the voice check refuses real speech, and how often sounds without a voice pass it.

    python scripts/measure_voice_activity.py RAVDESS EMODB

The folders hold the corpora's sound files. Prints two Markdown tables; docs/results/voice-activity.md quotes them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from maeum.inputs.speech import missing_speech_reason
from maeum.media.shapes import SAMPLE_RATE_HZ

Wave = NDArray[np.float32]
_SEEDS = 20


def conditions(wave: Wave, random: np.random.Generator) -> dict[str, Wave]:
    """An utterance as it may be recorded; the noise is so much below the utterance's mean power."""
    power = float(np.mean(wave.astype(np.float64) ** 2))

    def noisy(kind: Callable[[int, np.random.Generator], Wave], below_db: float) -> Wave:
        noise = kind(len(wave), random)
        level = np.sqrt(power * 10 ** (-below_db / 10) / np.mean(noise.astype(np.float64) ** 2))
        return (wave + level * noise).astype(np.float32)

    narrow = soxr.resample(soxr.resample(wave, SAMPLE_RATE_HZ, 8000), 8000, SAMPLE_RATE_HZ)
    middle = len(wave) // 2
    return {
        "as recorded": wave,
        "8 kHz": narrow.astype(np.float32),
        "30 dB quieter, 16 bits": (np.round(wave * 10**-1.5 * 32768) / 32768).astype(np.float32),
        "white noise 20 dB below": noisy(white, 20),
        "white noise 10 dB below": noisy(white, 10),
        "white noise 5 dB below": noisy(white, 5),
        "pink noise 10 dB below": noisy(pink, 10),
        "pink noise 5 dB below": noisy(pink, 5),
        "clipped by 12 dB": np.clip(wave * 4 / max(1e-9, np.abs(wave).max()), -1, 1).astype(np.float32),
        "its middle second alone": wave[max(0, middle - 8000) : middle + 8000],
        "its middle 0.4 s alone": wave[max(0, middle - 3200) : middle + 3200],
    }


def white(n: int, random: np.random.Generator) -> Wave:
    """White noise."""
    return random.normal(0, 0.1, n).astype(np.float32)


def coloured(exponent: float) -> Callable[[int, np.random.Generator], Wave]:
    """Noise whose power falls with this power of the frequency."""

    def make(n: int, random: np.random.Generator) -> Wave:
        spectrum = np.fft.rfft(random.normal(0, 1, n))
        spectrum[1:] /= np.arange(1, len(spectrum)) ** (exponent / 2)
        spectrum[0] = 0
        wave = np.fft.irfft(spectrum, n)
        return (0.1 * wave / wave.std()).astype(np.float32)

    return make


pink, brown = coloured(1.0), coloured(2.0)


def _tone(hz: float, n: int) -> Wave:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(n) / SAMPLE_RATE_HZ)).astype(np.float32)


def _clicks(n: int, random: np.random.Generator) -> Wave:
    wave = random.normal(0, 1e-4, n)
    wave[random.integers(0, n, max(2, n // 4000))] = random.choice([-0.8, 0.8])
    return wave.astype(np.float32)


def _knocks(n: int, random: np.random.Generator) -> Wave:
    """Short bursts of noise that die away within 30 ms, as keys or footsteps."""
    wave = random.normal(0, 1e-4, n)
    for at in random.integers(0, max(1, n - 3000), max(2, n // 8000)):
        length = min(3000, n - at)
        wave[at : at + length] += random.normal(0, 0.4, length) * np.exp(-np.arange(length) / 480)
    return wave.astype(np.float32)


def _hum(n: int, random: np.random.Generator) -> Wave:
    wave = sum(_tone(50.0 * k, n) / k for k in range(1, 12))
    return (np.asarray(wave) / 4 + random.normal(0, 0.002, n)).astype(np.float32)


def _sweep(n: int, random: np.random.Generator) -> Wave:
    hz = np.linspace(random.uniform(100, 300), random.uniform(2000, 6000), n)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ)).astype(np.float32)


def _swelling(n: int, random: np.random.Generator) -> Wave:
    """Noise whose level goes up and down twice a second: wind, waves, traffic."""
    level = 0.55 + 0.45 * np.sin(2 * np.pi * 2 * np.arange(n) / SAMPLE_RATE_HZ + random.uniform(0, 6))
    return (level * white(n, random)).astype(np.float32)


def _beeps(n: int, random: np.random.Generator) -> Wave:
    on = (np.arange(n) // (SAMPLE_RATE_HZ // 3)) % 2
    return (on * _tone(random.uniform(300, 2000), n) + random.normal(0, 1e-4, n)).astype(np.float32)


def _burst(n: int, random: np.random.Generator) -> Wave:
    """Silence, then noise, then silence: somebody starts and stops a machine."""
    wave = random.normal(0, 1e-4, n)
    wave[n // 3 : 2 * n // 3] += random.normal(0, 0.1, 2 * n // 3 - n // 3)
    return wave.astype(np.float32)


def _melody(n: int, random: np.random.Generator) -> Wave:
    """Notes of a quarter of a second with four harmonics each, as a simple instrument plays them."""
    note = SAMPLE_RATE_HZ // 4
    wave = np.zeros(n)
    for start in range(0, n, note):
        hz, length = 220 * 2 ** (random.integers(0, 13) / 12), min(note, n - start)
        t = np.arange(length) / SAMPLE_RATE_HZ
        wave[start : start + length] = sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 5)) * np.exp(-3 * t)
    return (0.2 * wave).astype(np.float32)


#: What holds no voice; made from a length and a source of chance.
NO_VOICE: dict[str, Callable[[int, np.random.Generator], Wave]] = {
    "digital silence": lambda n, random: np.zeros(n, np.float32),
    "a constant": lambda n, random: np.full(n, 0.3, np.float32),
    "very quiet noise, -75 dBFS": lambda n, random: white(n, random) * np.float32(10 ** (-55 / 20)),
    "quiet noise, -60 dBFS": lambda n, random: white(n, random) * np.float32(0.01),
    "white noise": white,
    "pink noise": pink,
    "brown noise": brown,
    "noise that swells": _swelling,
    "noise switched on and off": _burst,
    "a tone": lambda n, random: _tone(random.uniform(80, 5000), n),
    "hum of 50 Hz": _hum,
    "beeps": _beeps,
    "a sweep": _sweep,
    "clicks": _clicks,
    "knocks": _knocks,
    "a melody": _melody,
}


def refused_speech(folder: Path) -> dict[str, tuple[int, int, list[str]]]:
    """For each condition: how many files are refused, of how many, and which."""
    counts: dict[str, tuple[int, int, list[str]]] = {}
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.suffix in (".flac", ".wav"))):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        wave = soxr.resample(samples.mean(1), rate, SAMPLE_RATE_HZ).astype(np.float32)
        for name, version in conditions(wave, np.random.default_rng(number)).items():
            refused, total, names = counts.get(name, (0, 0, []))
            why = missing_speech_reason(torch.from_numpy(np.ascontiguousarray(version)), require_voice=True)
            counts[name] = (refused + bool(why), total + 1, [*names, path.stem] if why else names)
    return counts


def refused_others() -> Iterator[tuple[str, list[int]]]:
    """For each sound without a voice: how many of `_SEEDS` are refused at 1, 3 and 10 seconds."""
    for name, make in NO_VOICE.items():
        counts = []
        for seconds in (1, 3, 10):
            waves = (make(seconds * SAMPLE_RATE_HZ, np.random.default_rng(seed)) for seed in range(_SEEDS))
            reasons = (missing_speech_reason(torch.from_numpy(wave), require_voice=True) for wave in waves)
            counts.append(sum(reason is not None for reason in reasons))
        yield name, counts


def main(arguments: list[str]) -> Any:
    """Print both tables."""
    torch.set_num_threads(1)
    tables = {Path(a).name: refused_speech(Path(a)) for a in arguments}
    print(f"| speech refused | {' | '.join(tables)} |\n|---|{'---|' * len(tables)}")
    for name in next(iter(tables.values()), {}):
        cells = [f"{table[name][0]} of {table[name][1]}" for table in tables.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    for corpus, table in tables.items():
        for name, (refused, _, names) in table.items():
            if 0 < refused <= 5:
                print(f"\nrefused in {corpus}, {name}: {', '.join(names)}")
    print(f"\n| no voice: refused of {_SEEDS} | 1 s | 3 s | 10 s |\n|---|---|---|---|")
    for name, counts in refused_others():
        print(f"| {name} | {' | '.join(map(str, counts))} |")


if __name__ == "__main__":
    main(sys.argv[1:])
