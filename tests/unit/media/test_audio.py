from __future__ import annotations

import numpy as np
import pytest

from maeum.errors import InputError, MediaError
from maeum.media.audio import read_audio, to_mono_16k
from maeum.media.info import probe

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def middle(x, share=0.1):
    cut = round(len(x) * share)
    return x[cut:-cut]


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 96_000])
def test_level_and_length_at_any_rate_and_layout(tmp_path, make_media, make_sine, rate, channels):
    """A sine that is alike in all channels keeps its level: a downmix matrix would change it by up to 3 dB."""
    one = make_sine(440, 1.0, rate, 0.4)
    path = make_media(tmp_path / "a.wav", sound=np.tile(one, (channels, 1)), rate_hz=rate, layout=LAYOUTS[channels])
    audio = read_audio(path)
    assert audio.samples.dtype == np.float32
    assert abs(len(audio.samples) - 16_000) <= 1
    assert rms(middle(audio.samples)) == pytest.approx(0.4 / np.sqrt(2), rel=2e-3)
    np.testing.assert_allclose(middle(audio.samples), middle(make_sine(440, 1.0, 16_000, 0.4)), atol=2e-3)
    assert probe(path).channels == channels


def test_channels_are_averaged(tmp_path, make_media, make_sine):
    left = make_sine(440, 0.5, 48_000, 0.8)
    path = make_media(tmp_path / "a.wav", sound=np.stack((left, 0 * left)), rate_hz=48_000, layout="stereo")
    assert rms(middle(read_audio(path).samples)) == pytest.approx(0.4 / np.sqrt(2), rel=3e-3)


@pytest.mark.parametrize(
    ("codec", "form"),
    [("pcm_u8", "u8"), ("pcm_s16le", "s16"), ("pcm_s24le", "s32"), ("pcm_s32le", "s32"), ("pcm_f32le", "flt")],
)
def test_sample_formats_have_full_scale_one(tmp_path, make_media, make_sine, codec, form):
    wave = make_sine(200, 0.5, 16_000, 0.9)
    path = make_media(tmp_path / "a.wav", sound=wave, audio_codec=codec, audio_format=form)
    np.testing.assert_allclose(read_audio(path).samples, wave, atol=1.0 / 60 if form == "u8" else 1e-4)


@pytest.mark.parametrize(("name", "codec", "form", "rate"), [
    ("a.ogg", "libopus", "s16", 48_000), ("a.mp3", "libmp3lame", "s16p", 44_100), ("a.m4a", "aac", "fltp", 44_100),
    ("a.flac", "flac", "s16", 22_050),
])  # fmt: skip
def test_compressed_formats_keep_level_and_alignment(tmp_path, make_media, make_sine, name, codec, form, rate):
    import av

    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV cannot write {codec}")
    sound = np.zeros(rate, np.float32)
    sound[rate // 2 :] = make_sine(440, 0.5, rate, 0.5)
    try:
        path = make_media(tmp_path / name, sound=sound, rate_hz=rate, audio_codec=codec, audio_format=form)
    except av.FFmpegError as error:
        pytest.skip(f"{codec} cannot be written here: {error}")
    samples = read_audio(path).samples
    onset = int(np.argmax(np.abs(samples) > 0.2))
    assert abs(onset - 8000) < 16_000 * 0.06
    assert rms(samples[onset + 800 : onset + 6400]) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)  # LAME scales by 0.95


def test_a_stretch_equals_that_part_of_the_whole(tmp_path, make_media):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 15).astype(np.float32)
    path = make_media(tmp_path / "a.mkv", sound=noise, audio_codec="pcm_f32le", audio_format="flt")
    whole = read_audio(path).samples
    for start, end in ((0.0, 1.0), (2.5, 3.25), (12.0, 14.5), (14.5, None)):
        part = read_audio(path, start, end).samples
        stop = len(whole) if end is None else round(end * 16_000)
        np.testing.assert_array_equal(part, whole[round(start * 16_000) : stop])


def test_sound_that_starts_late_is_aligned_with_the_pictures(tmp_path, make_media, make_grey_frames, make_sine):
    path = make_media(
        tmp_path / "v.mkv", make_grey_frames([1] * 20), sound=make_sine(440, 1.0, 16_000), sound_start_ms=750
    )
    samples = read_audio(path).samples
    assert not samples[: round(0.74 * 16_000)].any()
    assert rms(samples[round(0.8 * 16_000) : 20_000]) > 0.3
    assert len(samples) == pytest.approx(1.75 * 16_000, abs=32)
    assert rms(read_audio(path, 0.8, 1.2).samples) > 0.3


def test_gap_is_filled_with_silence_and_reported(tmp_path, make_sine):
    from fractions import Fraction

    import av

    path = tmp_path / "gap.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for start_s in (0.0, 3.0):
            piece = (make_sine(440, 1.0, 16_000) * 32767).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), int(start_s * 16_000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    audio = read_audio(path)
    assert len(audio.samples) == pytest.approx(4 * 16_000, abs=32)
    assert not audio.samples[16_100:47_900].any()
    assert rms(audio.samples[48_100:]) > 0.3
    assert any("gaps of 2.00 s" in note for note in audio.notes)


def test_truncated_sound_gives_what_can_be_read(tmp_path, make_media):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 5).astype(np.float32)
    whole = make_media(tmp_path / "a.wav", sound=noise)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(whole.read_bytes()[: 78 + 2 * 16_000 * 2])
    audio = read_audio(cut)
    assert len(audio.samples) == pytest.approx(2 * 16_000, abs=64)
    np.testing.assert_array_equal(audio.samples[:30_000], read_audio(whole).samples[:30_000])


def test_not_a_number_in_a_file_is_silence_and_reported(tmp_path, make_media, make_sine):
    wave = make_sine(440, 1.0, 16_000)
    wave[100:110] = np.nan
    wave[200] = np.inf
    path = make_media(tmp_path / "a.wav", sound=wave, audio_codec="pcm_f32le", audio_format="flt")
    audio = read_audio(path)
    assert np.isfinite(audio.samples).all()
    assert not audio.samples[100:110].any()
    assert any("11 of 16000 samples" in note for note in audio.notes)


def test_nothing_but_nan_is_an_error(tmp_path, make_media):
    path = make_media(
        tmp_path / "nan.wav", sound=np.full(1600, np.nan, np.float32), audio_codec="pcm_f32le", audio_format="flt"
    )
    with pytest.raises(MediaError, match=r"nan\.wav.*audio stream 0 \(pcm_f32le\)"):
        read_audio(path)


def test_sound_without_samples_is_an_error(tmp_path, make_media):
    path = make_media(tmp_path / "none.wav", sound=np.zeros((1, 0), np.float32))
    with pytest.raises(MediaError, match=r"none\.wav"):
        read_audio(path)


def test_pictures_without_sound(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "mute.mkv", make_grey_frames([1, 2]))
    assert not probe(path).has_audio
    with pytest.raises(MediaError, match="has no sound"):
        read_audio(path)


def test_stretch_after_the_end_is_empty_with_a_note(tmp_path, make_media, make_sine):
    path = make_media(tmp_path / "a.wav", sound=make_sine(440, 1.0, 16_000))
    audio = read_audio(path, 5.0, 6.0)
    assert audio.samples.shape == (0,)
    assert audio.notes


class TestArrays:
    def test_resampled_mean_of_channels(self, make_sine):
        left = make_sine(440, 1.0, 48_000, 0.6)
        mono = to_mono_16k(np.stack((left, np.zeros_like(left))), 48_000)
        assert mono.shape == (16_000,)
        assert mono.dtype == np.float32
        np.testing.assert_allclose(middle(mono), middle(make_sine(440, 1.0, 16_000, 0.3)), atol=1e-3)

    def test_same_rate_is_untouched(self, make_sine):
        wave = make_sine(440, 0.1, 16_000)
        np.testing.assert_array_equal(to_mono_16k(wave, 16_000), wave)

    @pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float64])
    def test_types_have_full_scale_one(self, kind, make_sine):
        wave = make_sine(440, 0.1, 16_000, 0.5)
        scale = {np.int16: 32768, np.int32: 2**31, np.uint8: 128, np.float64: 1}[kind]
        stored = (wave.astype(np.float64) * scale + (128 if kind is np.uint8 else 0)).astype(kind)
        np.testing.assert_allclose(
            to_mono_16k(stored, 16_000), wave, atol=1.1 / min(scale, 32768) if scale > 1 else 1e-7
        )

    @pytest.mark.parametrize(
        ("samples", "rate", "words"),
        [
            (np.zeros(0, np.float32), 16_000, "shape"),
            (np.zeros((2, 2, 2), np.float32), 16_000, "shape"),
            (np.zeros((16_000, 2), np.float32), 16_000, "transpose"),
            (np.full(10, np.nan, np.float32), 16_000, "NaN"),
            (np.zeros(10, np.float32), 0, "sample_rate_hz"),
            (np.zeros(10, np.float32), -1, "sample_rate_hz"),
            (np.zeros(10, np.float32), float("nan"), "sample_rate_hz"),
            (np.zeros(10, np.float32), "16k", "sample_rate_hz"),
            (np.zeros(10, complex), 16_000, "complex"),
        ],
    )
    def test_what_is_not_sound_is_an_error(self, samples, rate, words):
        with pytest.raises(InputError, match=words):
            to_mono_16k(samples, rate)
