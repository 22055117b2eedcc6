from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from maeum.errors import MediaError
from maeum.media import video
from maeum.media.info import probe
from maeum.media.video import sample_frames


def levels(frames):
    return [round(float(f.rgb.mean())) for f in frames]


def test_frame_at_a_time_is_the_last_one_not_later(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.mkv", make_grey_frames(range(0, 200, 10)), fps=10)
    frames = list(sample_frames(path, every_s=0.5))
    assert [f.time_s for f in frames] == [0.0, 0.5, 1.0, 1.5]
    assert levels(frames) == [0, 50, 100, 150]
    between = list(sample_frames(path, times_s=[0.199, 0.2, 0.201, 1.05]))
    assert levels(between) == [10, 20, 20, 100]
    assert all(f.pts_s <= f.time_s + 1e-6 for f in between)


def test_variable_frame_rate(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.mkv", make_grey_frames([10, 20, 30, 40, 50]), times_ms=[0, 100, 1500, 1520, 2000])
    assert levels(sample_frames(path, every_s=0.5)) == [10, 20, 20, 30, 50]


def test_equals_decoding_everything(tmp_path, make_media, make_grey_frames):
    """Against the plain way: decode all, look up."""
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(1, 400, 40)) - 1
    times -= times[0]
    values = rng.integers(0, 255, 40)
    path = make_media(tmp_path / "v.mkv", make_grey_frames(values), times_ms=times.tolist())
    asked = np.sort(rng.uniform(0, times[-1] / 1000, 60))
    got = levels(sample_frames(path, times_s=asked))
    assert got == [int(values[np.searchsorted(times, t * 1000, side="right") - 1]) for t in asked]


def _decoded_frames(path, monkeypatch, **settings):
    """The frames asked for with their notes, and how many were decoded for them."""
    count = 0
    plain = video._Decoder._decoded

    def counted(self):
        nonlocal count
        for frame in plain(self):
            count += 1
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(video._Decoder, "_decoded", counted)
        sampler = sample_frames(path, **settings)
        frames = list(sampler)
        return frames, sampler.notes, count


@pytest.mark.parametrize(
    "settings", [{}, {"every_s": 0.13}, {"start_s": 5.1, "end_s": 7.9}, {"times_s": [0.33, 2.0, 7.91]}]
)
def test_pictures_that_nobody_needs_are_not_decoded(tmp_path, make_media, monkeypatch, settings):
    """H.264 with pictures that no other one is made from: leaving those out changes no frame and no note."""
    frames = [np.full((64, 96, 3), 90, np.uint8) for _ in range(200)]
    for i, frame in enumerate(frames):
        frame[20:40, i // 4 : i // 4 + 20] = 200
    path = make_media(tmp_path / "v.mp4", frames, fps=25, codec="libx264", pix_fmt="yuv420p")
    asked, notes, count = _decoded_frames(path, monkeypatch, **settings)
    monkeypatch.setattr(video._Decoder, "_is_shown", lambda *_: True)
    everything, all_notes, whole = _decoded_frames(path, monkeypatch, **settings)
    assert notes == all_notes
    assert [(f.time_s, f.pts_s) for f in asked] == [(f.time_s, f.pts_s) for f in everything]
    for ours, plain in zip(asked, everything, strict=True):
        np.testing.assert_array_equal(ours.rgb, plain.rgb)
    assert count < whole


def test_times_come_sorted_and_repeat(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.mkv", make_grey_frames([10, 20, 30]), fps=1)
    assert levels(sample_frames(path, times_s=[2.0, 0.0, 0.0, 1.5])) == [10, 10, 20, 30]
    assert list(sample_frames(path, times_s=[])) == []


def test_seeks_to_a_late_stretch(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.mp4", make_grey_frames(range(0, 240, 2)), fps=10, codec="mpeg4", pix_fmt="yuv420p")
    late = list(sample_frames(path, every_s=0.5, start_s=9.0, end_s=11.0))
    assert [f.time_s for f in late] == [9.0, 9.5, 10.0, 10.5]
    everything = {f.time_s: f.rgb for f in sample_frames(path, every_s=0.5)}
    for frame in late:
        np.testing.assert_array_equal(frame.rgb, everything[frame.time_s])


def test_stream_that_starts_late(tmp_path, make_media, make_grey_frames, make_sine):
    """Pictures from 1 s on, sound from 0 s: nothing is shown in the first second."""
    path = make_media(
        tmp_path / "v.mkv", make_grey_frames([10, 20]), times_ms=[1000, 1500], sound=make_sine(300, 2.0, 16000)
    )
    sampler = sample_frames(path, every_s=0.5)
    frames = list(sampler)
    assert [f.time_s for f in frames][:2] == [1.0, 1.5]
    assert levels(frames)[:2] == [10, 20]
    assert any("no picture from 0 s to 1.00 s" in note for note in sampler.notes)


def test_first_pts_that_is_not_zero_counts_as_zero(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.ts", make_grey_frames([40, 80, 120, 160, 200]), fps=2, codec="mpeg4",
                      pix_fmt="yuv420p", times_ms=[7000, 7500, 8000, 8500, 9000])  # fmt: skip
    frames = list(sample_frames(path, every_s=0.5))
    assert [f.time_s for f in frames] == [0.0, 0.5, 1.0, 1.5, 2.0]
    np.testing.assert_allclose(levels(frames), [40, 80, 120, 160, 200], atol=3)


@pytest.mark.parametrize("degrees", [90, -90, 180, 270])
def test_rotation_is_applied(tmp_path, make_media, degrees):
    if not hasattr(__import__("av").video.stream.VideoStream, "set_display_rotation"):
        pytest.skip("this PyAV cannot write rotation metadata")
    picture = np.zeros((24, 48, 3), np.uint8)
    picture[:8, :16] = 255  # white top left
    path = make_media(tmp_path / "v.mp4", [picture] * 3, codec="mpeg4", pix_fmt="yuv420p", rotation=degrees)
    upright = next(sample_frames(path)).rgb
    expected = np.rot90(picture, degrees // 90)
    assert upright.shape == expected.shape
    assert np.abs(upright.astype(int) - expected).mean() < 8
    assert (probe(path).width_px, probe(path).height_px) == (expected.shape[1], expected.shape[0])


def test_square_pixels(tmp_path, make_media, make_grey_frames):
    wide = make_media(
        tmp_path / "w.mp4", make_grey_frames([9] * 3, 40, 32), aspect=Fraction(2, 1), codec="mpeg4", pix_fmt="yuv420p"
    )
    assert next(sample_frames(wide)).rgb.shape == (32, 80, 3)
    assert (probe(wide).width_px, probe(wide).height_px) == (80, 32)
    tall = make_media(
        tmp_path / "t.mp4", make_grey_frames([9] * 3, 40, 32), aspect=Fraction(1, 2), codec="mpeg4", pix_fmt="yuv420p"
    )
    assert next(sample_frames(tall)).rgb.shape == (64, 40, 3)


def test_ten_bit(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.mkv", make_grey_frames([60, 120, 180]), pix_fmt="yuv420p10le", fps=2)
    frames = list(sample_frames(path))
    assert frames[0].rgb.dtype == np.uint8
    np.testing.assert_allclose(levels(frames), [60, 120, 180], atol=2)


def test_colours_keep_their_order(tmp_path, make_media):
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[...] = (200, 100, 50)
    path = make_media(tmp_path / "v.mkv", [picture] * 2)
    np.testing.assert_array_equal(next(sample_frames(path)).rgb, picture)


def test_single_frame_and_single_pixel(tmp_path, make_media, make_grey_frames):
    one = make_media(tmp_path / "one.mkv", make_grey_frames([77]))
    assert levels(sample_frames(one)) == [77]
    tiny = make_media(tmp_path / "tiny.mkv", make_grey_frames([5, 6], 1, 1))
    assert next(sample_frames(tiny)).rgb.shape == (1, 1, 3)


def test_huge_frames_are_scaled_while_converted(tmp_path, make_media):
    picture = np.zeros((4320, 7680, 3), np.uint8)
    picture[:2160] = 255
    path = make_media(tmp_path / "8k.mkv", [picture], codec="mjpeg", pix_fmt="yuvj420p")
    rgb = next(sample_frames(path)).rgb
    assert rgb.shape == (1080, 1920, 3)
    assert rgb[:500].mean() > 250
    assert rgb[600:].mean() < 5
    assert next(sample_frames(path, max_side_px=640)).rgb.shape == (360, 640, 3)


def test_truncated_file_gives_what_can_be_read(tmp_path, make_media):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)]
    whole = make_media(tmp_path / "whole.mkv", noise, fps=10, codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    everything = list(sample_frames(tmp_path / "whole.mkv"))
    for share in (0.4, 0.6, 0.9):
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole[: int(share * len(whole))])
        sampler = sample_frames(cut)
        frames = list(sampler)
        assert 0 < len(frames) < len(everything) or share == 0.9
        for got, want in zip(frames[:-1], everything, strict=False):
            np.testing.assert_array_equal(got.rgb, want.rgb)
    assert sample_frames(tmp_path / "whole.mkv").notes == ()


def test_several_streams_the_default_one_is_shown(tmp_path, make_grey_frames):
    import av
    from av.stream import Disposition

    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as out:
        streams = []
        for width, default in ((64, False), (32, True)):
            stream = out.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, 24, "bgr0"
            stream.disposition = Disposition.default if default else Disposition.dub
            streams.append(stream)
        for i, stream in enumerate(streams):
            for pixels in make_grey_frames([50 + i * 100] * 3, stream.width, 24):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            out.mux(stream.encode(None))
    assert probe(path).n_video_streams == 2
    assert levels(sample_frames(path))[0] == 150


def test_bad_arguments(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.mkv", make_grey_frames([1, 2, 3]))
    for settings in ({"every_s": 0}, {"every_s": float("nan")}, {"start_s": 2.0, "end_s": 1.0},
                     {"start_s": float("nan")}, {"times_s": [0.0, float("inf")]}):  # fmt: skip
        with pytest.raises(MediaError, match=r"v\.mkv"):
            sample_frames(path, **settings)


def test_stretch_after_the_end_has_no_frames(tmp_path, make_media, make_grey_frames):
    path = make_media(tmp_path / "v.mkv", make_grey_frames([1, 2, 3]))
    assert list(sample_frames(path, start_s=20.0)) == []
