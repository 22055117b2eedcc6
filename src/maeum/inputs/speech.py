"""From sound to what a network reads of speech, and the reasons why there is nothing to read."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maeum.media.activity import speech_regions, voiced_part
from maeum.media.shapes import SAMPLE_RATE_HZ

#: Shorter sound says nothing about a voice.
SHORTEST_S = 0.2
#: Sound that never rises above this level, in decibels below full scale, is silence.
SILENCE_DBFS = -90.0
NO_VOICE = "there is sound, but no voice was found in it"
_LEVEL_WINDOW_S = 0.05
#: Stores keep waves with 16 bits a sample.
_FULL_SCALE = 32768


def missing_speech_reason(wave: Tensor, *, require_voice: bool = False) -> str | None:
    """Why sound holds nothing to judge a voice by: it is too short, silent, or without voice activity.

    Args:
        wave: ``(n,)`` float32 at 16 kHz.
        require_voice: look for voice activity too; needless where a corpus says that somebody speaks.

    Returns:
        The reason, or None where there may be speech.
    """
    length_s = len(wave) / SAMPLE_RATE_HZ
    if length_s < SHORTEST_S:
        return f"no speech: {length_s:.2f} s of sound is too short"
    if loudest_dbfs(wave) < SILENCE_DBFS:
        return "no speech: the sound is silent"
    if require_voice and not speech_regions(wave):
        return f"no speech: {NO_VOICE}"
    return None


def find_voice(wave: Tensor) -> tuple[list[tuple[float, float]], str | None]:
    """Where in a recording somebody speaks, ``(start_s, end_s)`` each, and the reason if nobody does."""
    if loudest_dbfs(wave) < SILENCE_DBFS:
        return [], "the sound is silent"
    regions = [(float(start_s), float(end_s)) for start_s, end_s in speech_regions(wave)]
    return regions, None if regions else NO_VOICE


def trim_silence(wave: Tensor) -> Tensor:
    """The sound from the first to the last voice, or all of it where that is too short to judge."""
    part = voiced_part(wave)
    return part if len(part) >= SHORTEST_S * SAMPLE_RATE_HZ else wave


def in_16_bits(wave: Tensor) -> Tensor:
    """A wave at the precision in which stores keep it, so that training and use read the same samples."""
    return (wave * _FULL_SCALE).round().clamp(-_FULL_SCALE, _FULL_SCALE - 1) / _FULL_SCALE


def loudest_dbfs(wave: Tensor) -> float:
    """Level of the loudest 50 ms, in decibels below full scale; minus infinity for digital silence."""
    window = max(1, round(_LEVEL_WINDOW_S * SAMPLE_RATE_HZ))
    if not len(wave):
        return -math.inf
    whole = torch.nn.functional.pad(wave.double(), (0, -len(wave) % window)).view(-1, window)
    power = float((whole - whole.mean(1, keepdim=True)).square().mean(1).max())
    return 10 * math.log10(power) if power > 0 else -math.inf
