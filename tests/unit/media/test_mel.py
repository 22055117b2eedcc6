from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
import torch

from maeum.errors import InputError
from maeum.media.activity import speech_regions
from maeum.media.audio import read_audio
from maeum.media.mel import LOG_OFFSET, mel_spectrogram, to_mel_chunks


def plain_mel_power(wave):
    """The definition, written out with loops in double precision; (frames, 128)."""
    padded = np.pad(wave.astype(np.float64), 200, mode="reflect")
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    turn = np.array([[cmath.exp(-2j * math.pi * k * n / 400) for n in range(400)] for k in range(201)])
    mel_top = 2595 * math.log10(1 + 8000 / 700)
    edges = [700 * (10 ** (mel_top * i / 129 / 2595) - 1) for i in range(130)]
    out = np.zeros((1 + len(wave) // 200, 128))
    for frame in range(len(out)):
        power = np.abs(turn @ (padded[200 * frame : 200 * frame + 400] * window)) ** 2
        for band in range(128):
            low, centre, high = edges[band : band + 3]
            for k in range(201):
                hz = 40.0 * k
                if low < hz < high:
                    height = (hz - low) / (centre - low) if hz <= centre else (high - hz) / (high - centre)
                    out[frame, band] += height * power[k]
    return out


@pytest.fixture(scope="module")
def wave():
    """Loud and quiet, tones and noise: half a second."""
    rng = np.random.default_rng(0)
    t = np.arange(8_100) / 16_000
    sound = 0.8 * np.sin(2 * np.pi * 300 * t) + 1e-4 * rng.normal(size=t.size)
    sound[4000:6000] = 0.05 * rng.normal(size=2000)
    sound[6000:7000] = 0.0
    return sound.astype(np.float32)


def test_mel_equals_the_definition(wave):
    expected = plain_mel_power(wave)
    power = mel_spectrogram(torch.from_numpy(wave), log=False).numpy().T
    assert power.shape == expected.shape == (41, 128)
    np.testing.assert_allclose(power, expected, rtol=1e-5, atol=1e-7)
    logged = mel_spectrogram(torch.from_numpy(wave)).numpy().T
    np.testing.assert_allclose(logged, np.log(expected + 1e-6), rtol=0, atol=1e-5)


def test_pieces_are_the_spectrogram_cut_with_silence_at_the_end(wave):
    expected = plain_mel_power(wave)  # 41 frames: one mel chunk and 9 frames
    expected = np.concatenate((expected, np.zeros((23, 128))))
    mel_chunks = to_mel_chunks(torch.from_numpy(wave))
    assert mel_chunks.shape == (2, 1, 128, 32)
    assert mel_chunks.dtype == torch.float32
    for i in range(2):
        np.testing.assert_allclose(mel_chunks[i, 0].numpy().T, np.log(expected[32 * i : 32 * i + 32] + 1e-6), atol=1e-5)
    assert mel_chunks[1, 0, 0, -1].item() == pytest.approx(math.log(LOG_OFFSET))


@pytest.mark.parametrize("n", [1, 2, 199, 200, 201, 400])
def test_very_short_sound(n):
    mel_chunks = to_mel_chunks(torch.full((n,), 0.1))
    assert mel_chunks.shape == (1, 1, 128, 32)
    assert mel_chunks.isfinite().all()
    assert mel_chunks.max() > math.log(LOG_OFFSET) + 1


def test_no_samples_no_pieces():
    assert to_mel_chunks(torch.zeros(0)).shape == (0, 1, 128, 32)
    assert mel_spectrogram(torch.zeros(0)).shape == (128, 0)


def test_what_is_not_mono_sound_is_an_error():
    for bad in (torch.zeros(2, 100), torch.zeros(100, dtype=torch.int64), torch.tensor([0.0, math.nan])):
        with pytest.raises(InputError):
            to_mel_chunks(bad)


def babble(rng, length_s, rate_hz=16_000):
    """Something like speech: harmonics of a gliding pitch through moving formants, four syllables a second."""
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    pitch = 120 * (1 + 0.2 * np.sin(2 * np.pi * 0.7 * t))
    phase = 2 * np.pi * np.cumsum(pitch) / rate_hz
    formants = 500 + 250 * np.sin(2 * np.pi * 2 * t), 1600 + 600 * np.sin(2 * np.pi * 1.3 * t + 1)
    sound = np.zeros_like(t)
    for k in range(1, 30):
        hz = k * pitch
        gain = sum(np.exp(-(((hz - f) / 150) ** 2)) for f in formants) + 0.02
        sound += gain * np.sin(k * phase)
    syllables = np.maximum(0, np.sin(2 * np.pi * 2 * t)) ** 0.5 + 0.02
    return 0.1 * sound * syllables + 1e-5 * rng.normal(size=t.size)


class TestActivity:
    @pytest.mark.parametrize("gain", [1.0, 0.03, 0.001])
    @pytest.mark.parametrize("snr_db", [40, 20, 10])
    def test_finds_speech_between_pauses_at_any_level(self, gain, snr_db):
        rng = np.random.default_rng(0)
        sound = np.zeros(16_000 * 6)
        sound[16_000:40_000] = babble(rng, 1.5)
        sound[64_000:80_000] = babble(rng, 1.0)
        noise = rng.normal(size=sound.size) * np.sqrt(np.mean(sound[16_000:40_000] ** 2)) / 10 ** (snr_db / 20)
        regions = speech_regions(torch.from_numpy((gain * (sound + noise)).astype(np.float32)))
        assert len(regions) == 2
        np.testing.assert_allclose(regions, [(1.0, 2.5), (4.0, 5.0)], atol=0.3)

    def test_nothing_in_silence_noise_tones_and_clicks(self, make_sine):
        rng = np.random.default_rng(0)
        t = np.arange(48_000) / 16_000
        noise = 0.1 * rng.normal(size=t.size)
        hum = 0.1 * np.sin(2 * np.pi * 50 * t) + 0.05 * np.sin(2 * np.pi * 150 * t) + 0.001 * noise
        beep, burst, clicks = np.zeros_like(t), np.zeros_like(t), np.zeros_like(t)
        beep[16_000:32_000] = make_sine(440, 1.0, 16_000)
        burst[16_000:32_000] = noise[:16_000]
        clicks[::8000] = 1.0
        for sound in (0 * t, noise, make_sine(440, 3.0, 16_000), hum, beep, beep + 0.01 * noise, burst,
                      burst + 0.01 * noise, clicks):  # fmt: skip
            assert speech_regions(torch.from_numpy(np.asarray(sound, np.float32))) == []

    @pytest.mark.parametrize("n", [0, 1, 511, 512, 1600])
    def test_short_sound(self, n):
        regions = speech_regions(torch.rand(n) - 0.5)
        assert all(0 <= a < b <= n / 16_000 for a, b in regions)

    def test_real_sentences(self, shared_data):
        """GRID: a sentence of about 2 s inside 3 s; the first word never starts before 0.2 s."""
        for name in ("bbaf2n", "lbax4n", "pwij3p", "swiz3n"):
            audio = read_audio(shared_data / "media" / f"{name}.mpg")
            regions = speech_regions(torch.from_numpy(audio.samples))
            spoken = sum(b - a for a, b in regions)
            assert len(regions) <= 2
            assert 1.2 < spoken < 2.7
            assert 0.2 < regions[0][0] < 0.9

    def test_real_recordings_without_speech(self, shared_data):
        audio = read_audio(shared_data / "media" / "man_20s.mp4")  # a digitally silent track
        assert speech_regions(torch.from_numpy(audio.samples)) == []

    def test_real_actors(self, shared_data):
        """RAVDESS: one sentence of 1 to 3 s with half a second or more of silence on both sides."""
        files = sorted((shared_data / "ravdess").rglob("*.flac"))[::95]
        for file in files:
            audio = read_audio(file)
            regions = speech_regions(torch.from_numpy(audio.samples))
            assert regions, file
            assert 0.6 < sum(b - a for a, b in regions) < audio.duration_s - 0.5, file
