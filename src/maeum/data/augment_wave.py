"""Random variations of the sound itself: speed, pitch, noise and rooms; pure functions with an explicit generator."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.config import Config
from maeum.media.shapes import SAMPLE_RATE_HZ

#: Samples of a window (32 ms), and how far it may move.
_WINDOW, _SEARCH = 512, 160
#: A shorter sound keeps its pitch.
_SHORTEST = 2 * _WINDOW

#: A signal-to-noise ratio in dB, and how long a room echoes in seconds.
Decibels = Annotated[float, Field(ge=-60, le=100)]
Echo = Annotated[float, Field(ge=0.01, le=10)]


#: The band that a telephone lets through.
TELEPHONE_HZ = (300.0, 3400.0)


class WaveAugment(Config):
    """How an utterance's waveform varies in training. Ranges are drawn from evenly; 0 switches a part off."""

    speed: float = Field(default=0.1, ge=0, lt=1)
    """Played up to 1 + speed times as fast or as slow, which moves the pitch too (Ko et al., Interspeech 2015)."""
    pitch: float = Field(default=2.0, ge=0, le=12)
    """The pitch moves by up to so many semitones; the length stays."""
    noise: float = Field(default=0.3, ge=0, le=1)
    """Probability of added noise of a random spectrum."""
    snr_db: tuple[Decibels, Decibels] = (8.0, 30.0)
    """Lowest and highest signal-to-noise ratio of that noise, in dB."""
    telephone: float = Field(default=0.0, ge=0, le=1)
    """Probability of the band of a telephone, 300 to 3,400 Hz."""
    room: float = Field(default=0.3, ge=0, le=1)
    """Probability of the reverberation of a room."""
    room_s: tuple[Echo, Echo] = (0.1, 0.5)
    """Shortest and longest time, in seconds, in which the echo of that room falls by 60 dB."""
    gain_db: float = Field(default=0.0, ge=0, le=60)
    """Standard deviation of one gain for the utterance, in dB. No effect where utterances are standardised."""


def augment_wave(wave: Tensor, config: WaveAugment, generator: torch.Generator) -> Tensor:
    """Vary one utterance as a whole.

    Args:
        wave: ``(samples,)`` float32, 16 kHz.
        config: how much.
        generator: of what is drawn; the same gives the same.

    Returns:
        ``(other samples,)``, within -1..1.
    """
    draw = partial(uniform, generator=generator)
    speed = math.exp(draw(-1, 1) * math.log1p(config.speed))
    semitones = draw(-1, 1) * config.pitch
    noisy, snr_db, colour = chance(config.noise, generator), draw(*config.snr_db), draw(0, 2)
    echoes, room_s, near = chance(config.room, generator), draw(*config.room_s), draw(0.3, 1)
    gain_db = config.gain_db * float(torch.randn((), generator=generator))
    narrow = config.telephone > 0 and chance(config.telephone, generator)
    if config.pitch and len(wave) >= _SHORTEST:
        ratio = 2 ** (semitones / 12)
        wave = resampled(stretched(wave, ratio), ratio)[: len(wave)]
    if config.speed:
        wave = resampled(wave, speed)
    if echoes:
        wave = in_a_room(wave, room_s, near, generator)
    if noisy:
        wave = wave + noise_like(wave, snr_db, colour, generator)
    if narrow:
        wave = in_band(wave, *TELEPHONE_HZ)
    return (wave * 10 ** (gain_db / 20)).clamp(-1, 1)


def resampled(wave: Tensor, ratio: float) -> Tensor:
    """Played ``ratio`` times as fast: as many samples fewer; what then lies above half the rate is filtered out."""
    length = max(1, round(len(wave) / ratio))
    if length == len(wave):
        return wave
    spectrum = torch.fft.rfft(wave)
    resized = torch.zeros(length // 2 + 1, dtype=spectrum.dtype)
    shared = min(len(resized), len(spectrum))
    resized[:shared] = spectrum[:shared]
    played: Tensor = torch.fft.irfft(resized, length) * (length / len(wave))
    return played


def stretched(wave: Tensor, ratio: float) -> Tensor:
    """``ratio`` times as long at the same pitch: overlapping windows, each moved a little to where it fits best.

    WSOLA: Verhelst and Roelands, ICASSP 1993.
    """
    length, hop = round(len(wave) * ratio), _WINDOW // 2
    window = torch.hann_window(_WINDOW)
    padded = F.pad(wave, (hop + _SEARCH, 2 * _WINDOW + _SEARCH))
    made = torch.zeros(length + 2 * _WINDOW)
    place = 0
    for start in range(0, length + hop, hop):
        wanted = padded[place + hop : place + hop + _WINDOW]  # what would follow the last window
        place = min(round(start / ratio), len(wave)) + _SEARCH
        if start:
            around = padded[place - _SEARCH : place + _SEARCH + _WINDOW]
            likeness = F.conv1d(around.view(1, 1, -1), wanted.view(1, 1, -1))[0, 0]
            loudness = F.avg_pool1d(around.square().view(1, 1, -1), _WINDOW, 1)[0, 0].sqrt()
            place += int((likeness / loudness.clamp(min=1e-6)).argmax()) - _SEARCH
        made[start : start + _WINDOW] += padded[place : place + _WINDOW] * window
    return made[hop : hop + length]


def in_a_room(wave: Tensor, room_s: float, near: float, generator: torch.Generator) -> Tensor:
    """With the echo of a room: noise that dies away, by 60 dB within ``room_s``; near 1 is beside the speaker."""
    count = max(2, round(room_s * SAMPLE_RATE_HZ))
    decay = torch.exp(-math.log(1000) * torch.arange(count) / count)
    echo = torch.randn(count, generator=generator) * decay
    echo = echo / echo.square().sum().sqrt()
    echo[0] += 3 * near
    size = len(wave) + count
    echoed: Tensor = torch.fft.irfft(torch.fft.rfft(wave, size) * torch.fft.rfft(echo, size), size)[: len(wave)]
    loudness = wave.square().mean().sqrt() / echoed.square().mean().sqrt().clamp(min=1e-9)
    return echoed * loudness


def in_band(wave: Tensor, low_hz: float, high_hz: float) -> Tensor:
    """Without what is below or above a band; its edges fall off by 24 dB an octave."""
    spectrum = torch.fft.rfft(wave)
    hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, len(spectrum)).clamp(min=1.0)
    gain = 1 / ((1 + (low_hz / hz) ** 8) * (1 + (hz / high_hz) ** 8)).sqrt()
    filtered: Tensor = torch.fft.irfft(spectrum * gain, len(wave))
    return filtered


def noise_like(wave: Tensor, snr_db: float, colour: float, generator: torch.Generator) -> Tensor:
    """Noise as long as a sound, so much softer; its power falls with frequency to the power of ``colour`` (1: pink)."""
    spectrum = torch.fft.rfft(torch.randn(len(wave), generator=generator))
    tilt = torch.arange(1, len(spectrum) + 1, dtype=torch.float32).pow(-colour / 2)
    noise: Tensor = torch.fft.irfft(spectrum * tilt, len(wave))
    wanted = wave.square().mean() / 10 ** (snr_db / 10)
    return noise * (wanted / noise.square().mean().clamp(min=1e-12)).sqrt()


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number from low to high, each equally probable."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def chance(probability: float, generator: torch.Generator) -> bool:
    """True with this probability."""
    return float(torch.rand((), generator=generator)) < probability
