"""Random variations of training speech, on its log-mel mel_chunks: pure tensor functions with an explicit generator."""

from __future__ import annotations

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.config import Config
from maeum.data.augment_wave import Decibels, chance, uniform
from maeum.media.mel import LOG_OFFSET, TOP_HZ
from maeum.media.shapes import HOP, MEL_CHUNK_FRAMES, SAMPLE_RATE_HZ

#: Seconds from one frame to the next.
FRAME_S = HOP / SAMPLE_RATE_HZ
#: Natural logarithm of one decibel of power.
NATURAL_PER_DB = math.log(10.0) / 10.0

#: Seconds of a stretch that is kept.
Window = Annotated[float, Field(ge=0.02, le=600)]


class MelAugment(Config):
    """How an utterance's mel chunks vary in training. Ranges are drawn from evenly; 0 or None switches a part off."""

    trim_db: float | None = Field(default=35.0, ge=0, le=200)
    """Silence at both ends is cut off that is so far below the loudest frame, in dB; null keeps it."""
    margin_s: float = Field(default=0.3, ge=0, le=60)
    """Up to so many seconds of that silence stay at each end, so that mel chunks begin at a random phase."""
    keep_silence: float = Field(default=0.0, ge=0, le=1)
    """Probability that nothing is trimmed."""
    crop_s: float = Field(default=0.1, ge=0, le=60)
    """Up to so many seconds are cut off the start of speech."""
    window: float = Field(default=0.0, ge=0, le=1)
    """Probability that only a stretch of the utterance is kept, which is cheaper and hides the sentence as a whole."""
    window_s: tuple[Window, Window] = (0.6, 1.2)
    """Shortest and longest such stretch, in seconds."""
    tempo: float = Field(default=0.15, ge=0, le=3)
    """Speech is stretched to up to 1 + tempo or squeezed to 1 / (1 + tempo) of its length."""
    warp: float = Field(default=0.12, ge=0, lt=1)
    """The mel axis is stretched by up to this fraction (length of the vocal tract, pitch)."""
    eq_db: float = Field(default=4.0, ge=0, le=60)
    """Standard deviation of a smooth random gain over frequency (microphone, room), in dB."""
    gain_db: float = Field(default=6.0, ge=0, le=60)
    """Standard deviation of one gain for all frequencies, in dB."""
    noise: float = Field(default=0.3, ge=0, le=1)
    """Probability of added noise of a random spectrum."""
    snr_db: tuple[Decibels, Decibels] = (8.0, 35.0)
    """Lowest and highest signal-to-noise ratio of that noise, in dB."""
    lowpass: float = Field(default=0.1, ge=0, le=1)
    """Probability that everything above a random frequency from 3 to 6 kHz is lost."""
    time_masks: int = Field(default=2, ge=0, le=100)
    """Number of stretches of time that are blanked."""
    time_mask_s: float = Field(default=0.2, ge=0, le=60)
    """Longest such stretch, in seconds; at most a fifth of the utterance."""
    band_masks: int = Field(default=2, ge=0, le=100)
    """Number of stretches of frequency that are blanked."""
    band_mask: int = Field(default=16, ge=0, le=128)
    """Widest such stretch, of 128 mel bands."""


def augment_mel(mel_chunks: Tensor, config: MelAugment, generator: torch.Generator) -> Tensor:
    """Vary one utterance as a whole.

    Args:
        mel_chunks: ``(mel_chunks, 1, bands, frames)`` log-mel, natural log of power plus ``LOG_OFFSET``.
        config: how much.
        generator: where chance comes from.

    Returns:
        Float32 mel chunks of the same kind, perhaps more or fewer (at least one); the last is filled with silence.
    """
    count, _, bands, width = mel_chunks.shape
    floor = math.log(LOG_OFFSET)
    mel = mel_chunks.float().squeeze(1).permute(1, 0, 2).reshape(bands, count * width)
    mel = mel[:, : _last_sound(mel, floor) + 1]
    mel = trim_silence(mel, config, generator)
    if chance(config.window, generator):
        length = round(uniform(*config.window_s, generator) / FRAME_S)
        start = int(uniform(0, max(1, mel.shape[1] - length + 1), generator))
        mel = mel[:, start : start + length]
    mel = _stretch(mel, config, generator)
    peak = mel.amax()
    if config.eq_db:
        mel = mel + _smooth_gain(bands, config.eq_db, generator)
    if config.gain_db:
        mel = mel + float(torch.randn((), generator=generator)) * config.gain_db * NATURAL_PER_DB
    if chance(config.noise, generator):
        mel = _add_noise(mel, uniform(*config.snr_db, generator), generator)
    if chance(config.lowpass, generator):
        mel = mel.clone()
        mel[_band_of(uniform(3000.0, 6000.0, generator), bands) :] = floor
    mel = mel.clamp(min=floor)
    mel = _mask(mel, config, float(torch.minimum(mel.mean(), peak)), generator)
    return cut_mel_chunks(mel, width)


def trim_silence(mel: Tensor, config: MelAugment, generator: torch.Generator) -> Tensor:
    """Cut silence off both ends of ``mel (bands, frames)``, but for a random margin; at least one frame stays."""
    if config.trim_db is None or chance(config.keep_silence, generator):
        return mel
    levels = mel.amax(0)
    loud = (levels >= levels.amax() - config.trim_db * NATURAL_PER_DB).nonzero().flatten()
    first, last = int(loud[0]), int(loud[-1])
    crop = int(uniform(0.0, config.crop_s, generator) / FRAME_S)
    before = int(uniform(0.0, config.margin_s, generator) / FRAME_S)
    after = int(uniform(0.0, config.margin_s, generator) / FRAME_S)
    start = max(0, first - before) if before > crop else min(first + crop - before, last)
    return mel[:, start : last + after + 1]


def cut_mel_chunks(mel: Tensor, width: int = MEL_CHUNK_FRAMES) -> Tensor:
    """``(bands, frames) -> (mel_chunks, 1, bands, width)``; the last mel chunk is filled with digital silence."""
    count = max(1, math.ceil(mel.shape[1] / width))
    mel = F.pad(mel, (0, count * width - mel.shape[1]), value=math.log(LOG_OFFSET))
    return mel.view(mel.shape[0], count, width).permute(1, 0, 2).unsqueeze(1).contiguous()


def _last_sound(mel: Tensor, floor: float) -> int:
    sound = (mel.amax(0) > floor + 1e-4).nonzero().flatten()
    return int(sound[-1]) if len(sound) else mel.shape[1] - 1


def _stretch(mel: Tensor, config: MelAugment, generator: torch.Generator) -> Tensor:
    """Other tempo (time axis) and other vocal tract (mel axis), linearly interpolated."""
    bands, frames = mel.shape
    tempo = math.exp(uniform(-1.0, 1.0, generator) * math.log1p(config.tempo))
    factor = 1.0 + uniform(-config.warp, config.warp, generator)
    mel = _resample(mel, torch.linspace(0, frames - 1, max(1, round(frames * tempo))))
    return _resample(mel.T, (torch.arange(bands) * factor).clamp(max=bands - 1)).T


def _resample(rows: Tensor, at: Tensor) -> Tensor:
    low = at.floor().long()
    high = (low + 1).clamp(max=rows.shape[1] - 1)
    part = at - low
    return rows[:, low] * (1 - part) + rows[:, high] * part


def _smooth_gain(bands: int, spread_db: float, generator: torch.Generator) -> Tensor:
    knots = torch.randn(1, 1, 6, generator=generator) * spread_db * NATURAL_PER_DB
    return F.interpolate(knots, size=bands, mode="linear", align_corners=True).view(bands, 1)


def _add_noise(mel: Tensor, snr_db: float, generator: torch.Generator) -> Tensor:
    """Steady noise of random colour: mean power ``snr_db`` below the signal's, tilted over the bands at random."""
    bands, frames = mel.shape
    tilt = uniform(-2.0, 2.0, generator) * torch.linspace(-1, 1, bands).view(bands, 1)
    flutter = -torch.rand(bands, frames, generator=generator).clamp(min=1e-6).log()
    noise = tilt.exp() * flutter.sqrt()
    power = mel.exp()
    noise = noise * (power.mean() / noise.mean() * 10 ** (-snr_db / 10))
    return (power + noise).log()


def _mask(mel: Tensor, config: MelAugment, value: float, generator: torch.Generator) -> Tensor:
    """Blank stretches of time and of frequency (Park et al. 2019, SpecAugment)."""
    bands, frames = mel.shape
    mel = mel.clone()
    longest = min(config.time_mask_s / FRAME_S, frames / 5)
    for _ in range(config.time_masks):
        length = int(uniform(0, longest, generator))
        start = int(uniform(0, frames - length, generator))
        mel[:, start : start + length] = value
    for _ in range(config.band_masks):
        length = int(uniform(0, config.band_mask, generator))
        start = int(uniform(0, bands - length, generator))
        mel[start : start + length] = value
    return mel


def _band_of(hz: float, bands: int) -> int:
    return int(bands * math.log1p(hz / 700.0) / math.log1p(TOP_HZ / 700.0))
