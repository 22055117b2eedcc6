"""augment_mel: what each part does to a spectrogram that is known exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maeum.data.augment_mel import FRAME_S, NATURAL_PER_DB, MelAugment, augment_mel, cut_mel_chunks, trim_silence
from maeum.errors import ConfigError
from maeum.media.mel import LOG_OFFSET

FLOOR = math.log(LOG_OFFSET)
OFF = {
    "trim_db": None,
    "tempo": 0.0,
    "warp": 0.0,
    "eq_db": 0.0,
    "gain_db": 0.0,
    "noise": 0.0,
    "lowpass": 0.0,
    "time_masks": 0,
    "band_masks": 0,
}


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def speech(seed: int = 0, frames: int = 128) -> Tensor:
    return torch.rand(128, frames, generator=chance(seed)) * 4.0 - 2.0


def joined(mel_chunks: Tensor) -> Tensor:
    return mel_chunks.squeeze(1).permute(1, 0, 2).flatten(1)


def test_everything_off_changes_nothing() -> None:
    mel_chunks = cut_mel_chunks(speech(frames=100))
    assert mel_chunks.shape == (4, 1, 128, 32)
    torch.testing.assert_close(augment_mel(mel_chunks, MelAugment(**OFF), chance()), mel_chunks)


def test_same_seed_same_pieces_and_other_seed_others() -> None:
    mel_chunks = cut_mel_chunks(speech())
    first = augment_mel(mel_chunks, MelAugment(), chance(3))
    assert torch.equal(first, augment_mel(mel_chunks, MelAugment(), chance(3)))
    other = augment_mel(mel_chunks, MelAugment(), chance(4))
    assert other.shape != first.shape or not torch.equal(other, first)


def test_input_is_left_alone() -> None:
    mel_chunks = cut_mel_chunks(speech())
    before = mel_chunks.clone()
    augment_mel(mel_chunks, MelAugment(noise=1.0, lowpass=1.0), chance())
    assert torch.equal(mel_chunks, before)


@pytest.mark.parametrize("seed", range(8))
def test_all_at_full_strength_stays_finite_and_above_the_floor(seed: int) -> None:
    config = MelAugment(noise=1.0, lowpass=1.0, tempo=0.5, warp=0.3, eq_db=12.0, gain_db=40.0, keep_silence=0.5)
    for mel in (speech(seed), torch.full((128, 40), FLOOR), speech(seed, frames=1)):
        out = augment_mel(cut_mel_chunks(mel), config, chance(seed))
        assert out.ndim == 4
        assert out.shape[0] >= 1
        assert out.shape[1:] == (1, 128, 32)
        assert out.dtype == torch.float32
        assert bool(torch.isfinite(out).all())
        assert float(out.min()) >= FLOOR - 1e-6


def test_trim_cuts_silence_and_keeps_a_margin_and_speech() -> None:
    mel = torch.full((128, 300), -10.0)
    mel[:, 100:200] = 1.0 + torch.arange(100) / 1000
    config = MelAugment(**{**OFF, "trim_db": 30.0, "margin_s": 20 * FRAME_S, "crop_s": 0.0})
    lengths = set()
    for seed in range(40):
        cut = trim_silence(mel, config, chance(seed))
        loud = cut[0] > 0
        assert torch.equal(cut[0][loud], mel[0, 100:200])
        first = int(loud.nonzero()[0])
        assert first <= 20
        assert cut.shape[1] - first - 100 <= 20
        lengths.add(cut.shape[1])
    assert len(lengths) > 5
    assert trim_silence(mel, config.model_copy(update={"keep_silence": 1.0}), chance()) is mel


def test_window_keeps_a_stretch_as_it_was() -> None:
    mel = speech(frames=160)
    config = MelAugment(**{**OFF, "window": 1.0, "window_s": (20 * FRAME_S, 50 * FRAME_S)})
    starts = set()
    for seed in range(20):
        out = joined(augment_mel(cut_mel_chunks(mel), config, chance(seed)))
        kept = out[:, out.amax(0) > FLOOR + 1e-3]
        assert 20 <= kept.shape[1] <= 50
        start = int((mel - kept[:, :1]).abs().sum(0).argmin())
        torch.testing.assert_close(kept, mel[:, start : start + kept.shape[1]])
        starts.add(start)
    assert len(starts) > 5
    short = augment_mel(cut_mel_chunks(mel[:, :10]), config, chance())
    torch.testing.assert_close(joined(short)[:, :10], mel[:, :10])


def test_tempo_changes_the_length_only() -> None:
    ramp = torch.linspace(-2, 2, 128).view(128, 1).expand(128, 160).contiguous()
    frames = set()
    for seed in range(20):
        out = joined(augment_mel(cut_mel_chunks(ramp), MelAugment(**{**OFF, "tempo": 0.25}), chance(seed)))
        sound = out[:, out.amax(0) > FLOOR + 1e-3]
        torch.testing.assert_close(sound, ramp[:, :1].expand_as(sound))
        frames.add(sound.shape[1])
    assert min(frames) >= 128
    assert max(frames) <= 200
    assert min(frames) < 150
    assert max(frames) > 170


def test_warp_moves_a_band_by_at_most_its_fraction() -> None:
    mel = torch.full((128, 32), -8.0)
    mel[60] = 2.0
    peaks = set()
    for seed in range(20):
        out = joined(augment_mel(cut_mel_chunks(mel), MelAugment(**{**OFF, "warp": 0.1}), chance(seed)))
        peaks.add(int(out[:, 0].argmax()))
    assert min(peaks) >= 54
    assert max(peaks) <= 67
    assert len(peaks) > 4


def test_gain_and_equaliser_do_not_change_over_time() -> None:
    mel = speech()
    out = joined(augment_mel(cut_mel_chunks(mel), MelAugment(**{**OFF, "gain_db": 6.0, "eq_db": 4.0}), chance()))
    gain = out - mel
    torch.testing.assert_close(gain, gain[:, :1].expand_as(gain), atol=1e-5, rtol=0)
    assert float(gain[:, 0].std()) > 0.1
    assert float(gain[:, 0].diff().abs().max()) < 2.0


def test_noise_has_the_power_that_was_asked_for() -> None:
    mel = speech()
    config = MelAugment(**{**OFF, "noise": 1.0, "snr_db": (10.0, 10.0)})
    out = joined(augment_mel(cut_mel_chunks(mel), config, chance()))
    ratio = mel.exp().mean() / (out.exp() - mel.exp()).mean()
    assert float(ratio.log() / NATURAL_PER_DB) == pytest.approx(10.0, abs=0.05)


def test_lowpass_leaves_the_low_and_takes_the_top() -> None:
    mel = speech()
    out = joined(augment_mel(cut_mel_chunks(mel), MelAugment(**{**OFF, "lowpass": 1.0}), chance()))
    torch.testing.assert_close(out[:60], mel[:60])
    assert bool((out[120:] == FLOOR).all())


def test_masks_blank_no_more_than_they_may() -> None:
    mel = speech(frames=160)
    longest = 10
    for seed in range(20):
        config = MelAugment(**{**OFF, "time_masks": 1, "time_mask_s": longest * FRAME_S})
        changed = (joined(augment_mel(cut_mel_chunks(mel), config, chance(seed))) != mel).any(0)
        assert int(changed.sum()) <= longest
        config = MelAugment(**{**OFF, "band_masks": 2, "band_mask": 8})
        changed = (joined(augment_mel(cut_mel_chunks(mel), config, chance(seed))) != mel).any(1)
        assert int(changed.sum()) <= 16


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="band_mask"):
        MelAugment.parse({"band_maskz": 1})
