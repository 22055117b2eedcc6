"""Sound of many channels, and clocks that jump by days: read, without a crash and without days of silence."""

from __future__ import annotations

import numpy as np
import pytest

from maeum.media.audio import read_audio
from maeum.media.video import sample_frames

DAY_MS = 86_400_000


@pytest.mark.parametrize(("codec", "kind", "layout", "channels"), [
    ("aac", "flt", "7.1", 8),
    ("libopus", "s16", "7.1", 8),
    ("flac", "s16", "7.1", 8),
    ("pcm_s16le", "s16", "7.1.4", 12),
])  # fmt: skip
def test_sound_of_eight_channels_and_more(tmp_path, make_media, make_sine, codec, kind, layout, channels):
    """PyAV reads planes past the eighth: a 7.1 recording in AAC ended the process."""
    tone = make_sine(440, 1.0, 48_000)
    sound = np.stack([tone * (codec == "aac" or i == 3) for i in range(channels)])  # AAC keeps little of channel 3
    name = "a.mka" if codec != "pcm_s16le" else "a.wav"
    path = make_media(tmp_path / name, sound=sound, rate_hz=48_000, audio_codec=codec, audio_format=kind, layout=layout)
    samples = read_audio(path).samples
    level = float(np.sqrt(np.mean(samples[4000:12_000] ** 2)))
    assert len(samples) == pytest.approx(16_000, abs=700)
    assert level == pytest.approx(0.3536 / (1 if codec == "aac" else channels), rel=0.2)


def test_sound_that_claims_to_start_days_late(tmp_path, make_media, make_grey_frames, make_sine):
    path = make_media(
        tmp_path / "v.mkv", make_grey_frames([1] * 20), sound=make_sine(440, 2.0, 16_000), sound_start_ms=9 * DAY_MS
    )
    whole = read_audio(path)
    assert len(whole.samples) == pytest.approx(32_000, abs=700)
    assert any("claims to start at 777600.00 s" in note for note in whole.notes)
    stretch = read_audio(path, 0.5, 1.5).samples
    np.testing.assert_allclose(stretch, whole.samples[8_000:24_000], atol=1e-4)


@pytest.mark.parametrize("times", [
    [0, 500, 9 * DAY_MS, 9 * DAY_MS + 500],
    [0, 500, 9 * DAY_MS, 900 * DAY_MS],
])  # fmt: skip
def test_a_picture_is_not_shown_for_days(tmp_path, make_media, make_grey_frames, times):
    path = make_media(tmp_path / "v.mkv", make_grey_frames([10, 20, 30, 40]), times_ms=times, fps=2)
    sampler = sample_frames(path, every_s=0.5)
    frames = list(sampler)
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [10, 20, 30, 40]
    assert [f.time_s for f in frames] == [0.0, 0.5, 1.0, 1.5]
    assert any("clock jumps at 1.00 s" in note for note in sampler.notes)


def test_pictures_that_claim_to_start_days_late(tmp_path, make_media, make_grey_frames, make_sine):
    path = make_media(tmp_path / "v.mkv", make_grey_frames([10, 20]), times_ms=[9 * DAY_MS, 9 * DAY_MS + 500], fps=2,
                      sound=make_sine(300, 1.0, 16_000))  # fmt: skip
    sampler = sample_frames(path, every_s=0.5)
    assert [(f.time_s, int(f.rgb[0, 0, 0])) for f in sampler] == [(0.0, 10), (0.5, 20)]
    assert any("claims to start" in note for note in sampler.notes)
