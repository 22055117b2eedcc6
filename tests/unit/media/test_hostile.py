"""Files that cannot be used give one clear error naming the file and a remedy, or what can be read and a note."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maeum.corpora.tables import read_columns
from maeum.errors import MaeumError, MediaError
from maeum.media.audio import read_audio
from maeum.media.images import read_image
from maeum.media.info import probe
from maeum.media.text import read_transcript
from maeum.media.video import sample_frames
from maeum.models.published.fe2e import read_checkpoint
from maeum.preparation.items import content_hash
from maeum.preparation.transcripts import Transcripts
from maeum.settings_text import read_settings

READERS = {
    "probe": probe,
    "sample_frames": lambda path: list(sample_frames(path)),
    "read_audio": read_audio,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory, make_media):
    """Two seconds of noise with sound, MP4 with its index at the end."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(20)]
    return make_media(
        tmp_path_factory.mktemp("clip") / "clip.mp4", frames, fps=10, codec="mpeg4", pix_fmt="yuv420p",
        sound=rng.normal(0, 0.1, (2, 88_200)).astype(np.float32), rate_hz=44_100, audio_codec="aac",
        audio_format="fltp", layout="stereo",
    )  # fmt: skip


def unusable(folder, kind, clip):
    path = folder / "bad.mp4"
    if kind == "missing":
        return path, "no such file"
    if kind == "directory":
        path.mkdir()
        return path, "is a directory"
    if kind == "index missing":
        path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
        return path, "without its index"
    content, words = {
        "empty": (b"", "is empty"),
        "text": (b"this is no video\n" * 99, "is text"),
        "markup": (b"<html><body>404 not found</body></html>" * 20, "is text"),
        "zeros": (bytes(5000), "zeros"),
        "noise": (np.random.default_rng(3).bytes(5000), "is not media"),
        "header only": (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "without its index"),
    }[kind]
    path.write_bytes(content)
    return path, words


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "kind",
    ["missing", "directory", "empty", "text", "markup", "zeros", "noise", "header only", "index missing"],
)
def test_unusable_file_is_one_clear_error(tmp_path, clip, kind, reader):
    path, words = unusable(tmp_path, kind, clip)
    with pytest.raises(MediaError, match=words) as caught:
        READERS[reader](path)
    assert "bad.mp4" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["notes.txt", "drawing.nfo", "subtitles.srt"])
def test_text_that_a_demuxer_would_draw(tmp_path, reader, name):
    path = tmp_path / name
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n" * 20)
    with pytest.raises(MediaError, match=name):
        READERS[reader](path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_file_without_permission(tmp_path, clip):
    path = tmp_path / "secret.mp4"
    shutil.copy(clip, path)
    path.chmod(0)
    with pytest.raises(MediaError, match="may not be read"):
        probe(path)


def test_permission_is_asked_for(tmp_path, clip, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(MediaError, match=r"may not be read.*permissions"):
        probe(clip)


@pytest.mark.parametrize(
    "name", ["clip.wav", "clip.txt", "clip", "clip.jpg", "a:b.mp4", "100%d.mp4", "-i.mp4", "c l\u00efp.mp4"]
)
def test_content_counts_not_the_name(tmp_path, clip, name):
    path = tmp_path / name
    shutil.copy(clip, path)
    assert probe(path).has_video
    assert len(list(sample_frames(path))) == 4
    assert read_audio(path).duration_s == pytest.approx(2.0, abs=0.05)


def test_playlist_cannot_reach_other_places(tmp_path):
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(MediaError, match=r"list\.m3u8"):
        list(sample_frames(path))


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi"])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.8, 0.99])
def test_truncated_at_any_point(tmp_path, make_media, suffix, share):
    """What can be read is the beginning of the whole; nothing readable is an error, never another exception."""
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(25)]
    whole = make_media(
        tmp_path / f"whole.{suffix}", frames, fps=25, codec="mpeg4", pix_fmt="yuv420p", times_ms=range(0, 3000, 120),
        sound=rng.normal(0, 0.1, 16_000 * 3).astype(np.float32), audio_codec="mp2", audio_format="s16",
    )  # fmt: skip
    content = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(content[: int(share * len(content))])
    all_frames, all_sound = list(sample_frames(whole, every_s=0.25)), read_audio(whole).samples
    got = read_or_named_error(lambda path: list(sample_frames(path, every_s=0.25)), cut)
    assert len(got) <= len(all_frames)
    for a, b in zip(got[:-1], all_frames, strict=False):
        np.testing.assert_array_equal(a.rgb, b.rgb)
    sound = read_or_named_error(lambda path: read_audio(path).samples, cut)
    assert len(sound) <= len(all_sound) + 1600
    if share == 0.99:
        assert len(got) >= len(all_frames) - 2
        assert len(sound) >= 0.9 * len(all_sound)


def read_or_named_error(reader, path):
    """What the reader gives, or nothing when it raises the one error that is allowed."""
    try:
        return reader(path)
    except MediaError as error:
        if path.name not in str(error):
            raise AssertionError(f"{error} does not name the file") from error
        return []


def test_truncated_file_says_so(tmp_path, make_media):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(30)]
    sound = rng.normal(0, 0.1, 48_000).astype(np.float32)
    whole = make_media(
        tmp_path / "whole.mp4", frames, codec="mpeg4", pix_fmt="yuv420p",
        sound=sound, audio_codec="aac", audio_format="fltp",
    )  # fmt: skip
    content = whole.read_bytes()
    index = content.rindex(b"moov") - 4
    # the index first, as cameras and web encoders write it, then the first half of the pictures and sound
    pictures = content[:index]
    cut = tmp_path / "cut.mp4"
    damaged = bytearray(pictures)
    damaged[len(pictures) // 2 :] = bytes(len(pictures) - len(pictures) // 2)
    cut.write_bytes(bytes(damaged) + content[index:])
    sampler = sample_frames(cut, every_s=0.2)
    frames_read = list(sampler)
    assert 5 <= len(frames_read) <= 15
    assert any("damaged" in note or "truncated" in note for note in sampler.notes)


def test_album_cover_is_not_a_video(tmp_path, make_media, make_sine):
    from fractions import Fraction

    import av
    from av.stream import Disposition

    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        sound = out.add_stream("libmp3lame", rate=16_000, layout="mono")
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")))
        out.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray((make_sine(440, 1.0, 16_000) * 9999).astype(np.int16)[None], "s16p", "mono")
        frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 0
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    with av.open(str(path)) as made:
        if not made.streams.video or not made.streams.video[0].disposition & Disposition.attached_pic:
            pytest.skip("this muxer does not keep the cover's mark")
    assert not probe(path).has_video
    assert read_audio(path).duration_s == pytest.approx(1.0, abs=0.1)
    with pytest.raises(MediaError, match="no moving pictures"):
        sample_frames(path)


class TestImages:
    def test_picture_from_file_and_from_zip(self, tmp_path):
        import zipfile

        from PIL import Image

        picture = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "a.png")
        with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
            archive.write(tmp_path / "a.png", "train/angry/a.png")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)
        np.testing.assert_array_equal(read_image(tmp_path / "faces.zip" / "train" / "angry" / "a.png"), picture)
        with pytest.raises(MediaError, match="no such member"):
            read_image(tmp_path / "faces.zip" / "train" / "none.png")

    @pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "1", "CMYK", "I;16"])
    def test_every_mode_becomes_rgb(self, tmp_path, mode):
        from PIL import Image

        if mode == "I;16":
            image = Image.fromarray(np.full((5, 6), 128 * 257, np.uint16))
        else:
            image = Image.new("L", (6, 5), 128).convert(mode)
        image.save(tmp_path / ("a.tif" if mode == "CMYK" else "a.png"))
        rgb = read_image(next(tmp_path.iterdir()))
        assert rgb.shape == (5, 6, 3)
        assert rgb.dtype == np.uint8
        if mode != "1":
            np.testing.assert_allclose(rgb, 128, atol=1)

    def test_exif_orientation(self, tmp_path):
        from PIL import Image

        picture = np.zeros((10, 20, 3), np.uint8)
        picture[:5, :5] = 255
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise
        Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(picture, -1))

    @pytest.mark.parametrize("content", [b"", b"not a picture", None])
    def test_what_is_not_a_picture_is_an_error(self, tmp_path, content):
        path = tmp_path / "bad.jpg"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(MediaError, match=r"bad\.jpg"):
            read_image(path)

    def test_truncated_picture_is_an_error(self, tmp_path):
        from PIL import Image

        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "whole.jpg")
        content = (tmp_path / "whole.jpg").read_bytes()
        (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
        with pytest.raises(MediaError, match=r"cut\.jpg"):
            read_image(tmp_path / "cut.jpg")

    def test_damaged_archive_is_an_error(self, tmp_path):
        (tmp_path / "bad.zip").write_bytes(b"PK nothing")
        with pytest.raises(MediaError, match=r"bad\.zip"):
            read_image(tmp_path / "bad.zip" / "a.png")


@pytest.mark.parametrize("kind", ["fifo", "device"])
@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".mp4", probe), (".wav", read_audio), (".png", read_image), (".srt", read_transcript), (".yaml", read_settings),
     (".json", read_settings), (".csv", read_columns), (".jsonl", Transcripts.read), (".pt", read_checkpoint),
     (".bin", content_hash)],
)  # fmt: skip
def test_what_never_ends_is_refused_before_it_is_read(
    tmp_path: Path, kind: str, suffix: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / f"x{suffix}"
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    with pytest.raises(MaeumError, match=rf"x\{suffix}: is a pipe or a device, not a file"):
        read(path)


def test_a_picture_that_ends_before_the_sound_is_not_truncated(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., object]
) -> None:
    grey = np.full((24, 32, 3), 50, np.uint8)
    path = make_media(tmp_path / "a.mkv", [grey, grey], times_ms=[0, 67], sound=make_sine(200, 3.6, 16_000))
    frames = sample_frames(path, every_s=0.5)
    assert len(list(frames)) == 1
    assert frames.notes == ()
