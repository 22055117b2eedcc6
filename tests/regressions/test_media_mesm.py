"""Defects of the published MESM code that concern media; each has a test here so that it does not come back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maeum.media.audio import read_audio
from maeum.media.faces import centre_crop
from maeum.media.mel import LOG_OFFSET, to_mel_chunks
from maeum.media.shapes import HOP, MEL_CHUNK_S, N_FFT
from maeum.media.text import read_transcript
from maeum.media.video import sample_frames


@pytest.mark.parametrize("shape", [(96, 160), (160, 96), (100, 100)])
def test_mesm_04_centre_crop_is_in_the_centre_also_of_oblong_pictures(shape):
    """The published crop lay 48 px left of the centre and took pictures for squares."""
    picture = np.zeros((*shape, 3), np.uint8)
    y, x = shape[0] // 2, shape[1] // 2
    picture[y - 6 : y + 6, x - 6 : x + 6] = 255
    crop = centre_crop(picture)
    assert np.argwhere(crop[..., 0] > 127).mean(0) == pytest.approx([23.5, 23.5], abs=0.6)


@pytest.mark.parametrize("fps", [5, 25, 30])
def test_mesm_07_frames_are_sampled_once_every_half_second(tmp_path, make_media, make_grey_frames, fps):
    """Published frames were decimated twice: one per 7.5 s instead of one per 0.5 s."""
    path = make_media(tmp_path / "v.mkv", make_grey_frames([i % 250 for i in range(8 * fps)], 16, 16), fps=fps)
    frames = list(sample_frames(path))
    assert [f.time_s for f in frames] == [0.5 * i for i in range(16)]
    assert [int(f.rgb[0, 0, 0]) for f in frames] == [math.floor(0.5 * i * fps + 1e-6) % 250 for i in range(16)]


def test_mesm_08_negative_start_is_moved_alike_for_pictures_and_sound(tmp_path, make_media, make_grey_frames):
    """The published code clamped negative starts for sound only, so that the two drifted apart."""
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    path = make_media(tmp_path / "v.mkv", make_grey_frames(range(0, 200, 10)), fps=10, sound=noise)
    sampler = sample_frames(path, start_s=-0.7, end_s=1.0)
    assert [f.time_s for f in sampler] == [0.0, 0.5]
    audio = read_audio(path, start_s=-0.7, end_s=1.0)
    np.testing.assert_array_equal(audio.samples, read_audio(path, 0.0, 1.0).samples)
    note = "start -0.7 s is before the recording; read from 0 s"
    assert note in sampler.notes
    assert note in audio.notes


@pytest.mark.parametrize("name", ["a.txt", "a.srt", "a.vtt", "a.json"])
def test_mesm_09_words_before_a_colon_are_kept(tmp_path, name):
    """Published transcripts were split at ':' and only the last part was kept."""
    said = "Mary said: it is 10:30, so: go"
    cue = f"00:00:01.000 --> 00:00:02.000\n{said}\n"
    content = {"a.txt": said, "a.srt": "1\n" + cue, "a.vtt": "WEBVTT\n\n" + cue, "a.json": f'[{{"text": "{said}"}}]'}
    (tmp_path / name).write_text(content[name])
    assert [line.text for line in read_transcript(tmp_path / name)] == [said]


def test_mesm_11_mel_has_a_logarithm_and_its_window_fits_the_transform(make_sine):
    """Published mel chunks were powers without logarithm, and above 16 kHz the window was longer than the transform."""
    assert N_FFT == 0.025 * 16_000
    assert HOP == 0.0125 * 16_000
    assert pytest.approx(0.4) == MEL_CHUNK_S
    loud = torch.from_numpy(make_sine(1000, 0.5, 16_000))
    top, top_quieter = to_mel_chunks(loud).max(), to_mel_chunks(loud / 10).max()
    assert (top - top_quieter).item() == pytest.approx(math.log(100), rel=1e-3)
    assert to_mel_chunks(torch.zeros(6400)).max().item() == pytest.approx(math.log(LOG_OFFSET))


def test_mesm_11_sound_above_16_khz_gives_the_same_pieces(tmp_path, make_media, make_sine):
    paths = [
        make_media(tmp_path / f"{rate}.wav", sound=make_sine(1000, 1.0, rate), rate_hz=rate)
        for rate in (16_000, 48_000)
    ]
    a, b = (to_mel_chunks(torch.from_numpy(read_audio(p).samples)) for p in paths)
    assert a.shape == b.shape
    inner = slice(1, -1)
    torch.testing.assert_close(a[inner, 0, 10:40], b[inner, 0, 10:40], atol=0.05, rtol=0)
