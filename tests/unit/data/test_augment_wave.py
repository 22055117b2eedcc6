from __future__ import annotations

import math

import pytest
import torch

from maeum.data.augment_wave import (
    TELEPHONE_HZ,
    WaveAugment,
    augment_wave,
    in_a_room,
    in_band,
    noise_like,
    resampled,
    stretched,
)

RATE = 16_000
QUIET = {"speed": 0.0, "pitch": 0.0, "noise": 0.0, "room": 0.0}


def tone(hz: float, seconds: float = 1.0) -> torch.Tensor:
    return 0.3 * torch.sin(2 * math.pi * hz * torch.arange(round(seconds * RATE)) / RATE)


def pitch_hz(wave: torch.Tensor) -> float:
    middle = wave[len(wave) // 4 : -len(wave) // 4]
    return float(torch.fft.rfft(middle * torch.hann_window(len(middle))).abs().argmax()) * RATE / len(middle)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_nothing_asked_for_changes_nothing() -> None:
    wave = tone(300)
    assert torch.equal(augment_wave(wave, WaveAugment(**QUIET), draw()), wave)


def test_the_same_generator_gives_the_same() -> None:
    wave, config = tone(300), WaveAugment(noise=1.0, room=1.0)
    first = augment_wave(wave, config, draw(3))
    assert torch.equal(augment_wave(wave, config, draw(3)), first)
    assert first.shape != wave.shape or not torch.allclose(first, wave)
    assert first.abs().max() <= 1


@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_faster_is_shorter_and_higher(ratio: float) -> None:
    played = resampled(tone(440), ratio)
    assert len(played) == round(RATE / ratio)
    assert pitch_hz(played) == pytest.approx(440 * ratio, abs=3)
    assert played[2000:-2000].abs().max() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("ratio", [0.8, 1.25])
def test_stretched_is_longer_at_the_same_pitch(ratio: float) -> None:
    longer = stretched(tone(440), ratio)
    assert len(longer) == round(RATE * ratio)
    assert pitch_hz(longer) == pytest.approx(440, abs=3)
    assert longer[3000:-3000].abs().max() == pytest.approx(0.3, abs=0.03)


def test_pitch_moves_and_length_stays() -> None:
    found = [augment_wave(tone(440), WaveAugment(**{**QUIET, "pitch": 4.0}), draw(i)) for i in range(12)]
    assert {len(wave) for wave in found} == {RATE}
    semitones = [12 * math.log2(pitch_hz(wave) / 440) for wave in found]
    assert all(-4.2 < s < 4.2 for s in semitones)
    assert max(semitones) > 1
    assert min(semitones) < -1


def test_noise_has_its_level() -> None:
    wave = tone(300)
    for colour in (0.0, 2.0):
        noise = noise_like(wave, 10.0, colour, draw())
        assert float(10 * torch.log10(wave.square().mean() / noise.square().mean())) == pytest.approx(10.0, abs=0.01)


def test_a_telephone_keeps_its_band() -> None:
    t = torch.arange(16_000) / 16_000
    for hz, kept in ((100, 0.05), (1000, 1.0), (7500, 0.05)):
        tone = torch.sin(2 * torch.pi * hz * t)
        level = float(in_band(tone, *TELEPHONE_HZ).square().mean() / tone.square().mean()) ** 0.5
        assert level == pytest.approx(1.0, abs=0.05) if kept == 1.0 else level < kept


def test_a_room_is_heard_after_the_sound_and_as_loud() -> None:
    click = torch.zeros(RATE)
    click[4000:4400] = tone(500, 0.025)
    heard = in_a_room(click, 0.3, 0.5, draw())
    assert heard[:3990].abs().max() < 1e-4
    assert heard[4400:6000].square().mean() > 10 * heard[9500:].square().mean()
    assert float(heard.square().mean()) == pytest.approx(float(click.square().mean()), rel=1e-3)


def test_a_sound_shorter_than_a_window_survives() -> None:
    for count in (1, 2, 300, 2047, 2048):
        assert augment_wave(tone(300)[:count] + 0.01, WaveAugment(noise=1.0, room=1.0), draw()).isfinite().all()


def test_silence_stays_finite() -> None:
    assert augment_wave(torch.zeros(4000), WaveAugment(noise=1.0, room=1.0), draw()).isfinite().all()
