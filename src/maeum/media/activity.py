"""Voice activity: where somebody speaks, at any level, without a trained model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.media.mel import check_wave, mel_filters
from maeum.media.shapes import SAMPLE_RATE_HZ

_WINDOW, _HOP = 512, 160
_FRAME_S = _HOP / SAMPLE_RATE_HZ
_BANDS = 26
#: Bands whose sum is the level: about 150 Hz to 4 kHz, where voices are.
_VOICE = slice(2, 20)
#: A recording whose largest sample is below this is digital silence.
_NOTHING = 1e-6
#: Below this, relative to the largest sample, there is nothing but rounding.
_SILENCE_DB = -85.0
#: The noise floor and the loudest level are percentiles of the levels within this distance.
_AROUND_S = 5.0
_FLOOR_PERCENTILE, _LOUD_PERCENTILE = 10, 95
#: A stretch whose level moves less than this is steady: noise or a hum.
_LEAST_RANGE_DB = 9.0
#: Bands of speech move up and down by more than this within a region; those of a tone or of noise do not.
_LEAST_MOVEMENT_DB = 2.5


def speech_regions(
    wave: Tensor,
    min_speech_s: float = 0.2,
    min_pause_s: float = 0.4,
    margin_s: float = 0.1,
) -> list[tuple[float, float]]:
    """Where somebody speaks.

    A frame is active when its level in the voice band stands out from the noise floor around it, counted relative to
    the loudest there, so that the recording's gain does not matter. Pauses shorter than ``min_pause_s`` are bridged,
    regions shorter than ``min_speech_s`` dropped, and so are regions whose spectrum stands still (tones, hum) or only
    flickers (noise). Music with a melody may pass for speech.

    Args:
        wave: ``(n,)`` float samples at 16 kHz.
        min_speech_s: shortest region, in seconds, before the margin is added.
        min_pause_s: shortest pause that separates regions.
        margin_s: added on both sides of a region.

    Returns:
        ``(start_s, end_s)`` of each region, ascending, not overlapping, within the recording.

    Raises:
        InputError: when the samples are not one row of finite numbers.
    """
    wave = check_wave(wave)
    length_s = wave.numel() / SAMPLE_RATE_HZ
    peak = float(wave.abs().max()) if wave.numel() >= _WINDOW else 0.0
    if peak < _NOTHING:
        return []
    bands_db, level_db = _levels(wave.double() / peak)
    active = _stands_out(level_db)
    regions = []
    for first, last in _bridged(active, round(min_pause_s / _FRAME_S)):
        if (last - first) * _FRAME_S >= min_speech_s and _moves_like_speech(
            bands_db[:, first:last], level_db[first:last]
        ):
            regions.append((first * _FRAME_S, last * _FRAME_S))
    return _widened(regions, margin_s, length_s)


def voiced_part(wave: Tensor) -> Tensor:
    """The sound from the first to the last voice; empty where nobody speaks. wave: ``(n,)`` at 16 kHz."""
    regions = speech_regions(wave) or [(0.0, 0.0)]
    return wave[round(regions[0][0] * SAMPLE_RATE_HZ) : round(regions[-1][1] * SAMPLE_RATE_HZ)]


def _levels(wave: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels in dB per band, ``(26, frames)``, and of the voice band, ``(frames,)``; frame i is at i * 10 ms."""
    window = torch.hann_window(_WINDOW, dtype=torch.float64)
    spectrum = torch.stft(wave.double().cpu(), _WINDOW, _HOP, _WINDOW, window, center=True, return_complex=True)
    power = (spectrum.abs() / window.sum()).square() * 4
    bands = (mel_filters(_BANDS, _WINDOW) @ power).numpy()
    floor = 10.0 ** (_SILENCE_DB / 10) * 1e-2
    level = 10 * np.log10(bands[_VOICE].sum(0) + floor)
    # three frames are averaged: a single click is not a voice
    level = np.convolve(np.pad(level, 1, mode="edge"), np.full(3, 1 / 3), mode="valid")
    return 10 * np.log10(bands + floor), level


def _stands_out(level_db: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Frames that are clearly louder than the floor of their surroundings."""
    active = np.zeros(len(level_db), bool)
    around, step = round(_AROUND_S / _FRAME_S), round(1.0 / _FRAME_S)
    for start in range(0, len(level_db), step):
        nearby = level_db[max(0, start - around) : start + step + around]
        audible = nearby[nearby > _SILENCE_DB]  # digital silence says nothing about the noise of the room
        if not len(audible):
            continue
        floor, loud = np.percentile(audible, (_FLOOR_PERCENTILE, _LOUD_PERCENTILE))
        if len(audible) < 0.9 * len(nearby):
            floor = min(floor, _SILENCE_DB)
        if loud - floor < _LEAST_RANGE_DB:
            continue
        threshold = max(floor + max(5.0, 0.35 * min(loud - floor, 40.0)), loud - 35.0, _SILENCE_DB)
        active[start : start + step] = level_db[start : start + step] > threshold
    return active


def _bridged(active: NDArray[np.bool_], longest_pause: int) -> list[tuple[int, int]]:
    """Runs of active frames, ``[first, last)``, joined over pauses shorter than ``longest_pause`` frames."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    runs: list[tuple[int, int]] = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if runs and first - runs[-1][1] < longest_pause:
            runs[-1] = (runs[-1][0], last)
        else:
            runs.append((first, last))
    return runs


def _moves_like_speech(bands_db: NDArray[np.float64], level_db: NDArray[np.float64]) -> bool:
    """Whether the shape of the spectrum changes over the region as vowels and consonants do.

    The overall level is taken out, and 50 ms are averaged, which calms noise (whose bands flicker) but not speech.
    """
    inner = slice(3, -3) if bands_db.shape[1] > 16 else slice(None)  # without the onset and the end
    shape = bands_db[:, inner] - bands_db[:, inner].mean(0)
    frames = shape.shape[1] // 5 * 5
    if frames < 15:
        return bool(np.ptp(level_db) > 3.0)
    calm = shape[:, :frames].reshape(len(shape), -1, 5).mean(2)
    return bool(calm.std(1).mean() > _LEAST_MOVEMENT_DB)


def _widened(regions: list[tuple[float, float]], margin_s: float, length_s: float) -> list[tuple[float, float]]:
    """Regions with the margin on both sides; neighbours share the pause between them at most half and half."""
    wide = []
    for i, (start, end) in enumerate(regions):
        before = regions[i - 1][1] if i else -2 * margin_s
        after = regions[i + 1][0] if i + 1 < len(regions) else length_s + 2 * margin_s
        wide.append((
            max(0.0, start - min(margin_s, (start - before) / 2)),
            min(length_s, end + min(margin_s, (after - end) / 2)),
        ))  # fmt: skip
    return wide
