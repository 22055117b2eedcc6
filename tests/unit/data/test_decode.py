"""An utterance's media as arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maeum.analysis.evidence import collect
from maeum.corpora.base import LeftOut
from maeum.data.decode import DecodeConfig, Decoder, content_hash
from maeum.data.shards import StoreItem
from maeum.errors import CorpusError
from maeum.media.audio import read_audio
from maeum.media.speech import mel_pieces
from maeum.models.pretrained import InputSettings
from maeum.types import MODALITIES, Recording, Utterance

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo.mp4"
EVERYTHING = Decoder(DecodeConfig(), "detect", MODALITIES)


def of(path: Path, **kept: Any) -> Utterance:
    return Utterance("u", Recording("r", video=path, audio=path), **kept)


def used(result: StoreItem | LeftOut) -> StoreItem:
    assert isinstance(result, StoreItem), result
    return result


def test_speech_becomes_the_pieces_of_its_stretch(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]
):
    wave = make_sine(300, 1.0, 16_000)
    path = make_media(tmp_path / "a.wav", sound=wave)
    speech = Decoder(DecodeConfig(precision="float32"), "none", ("speech",))
    item = used(speech(Utterance("u", Recording("r", audio=path), start_s=0.25, end_s=0.75)))
    assert item.faces is None
    assert item.pieces is not None
    exact = mel_pieces(torch.from_numpy((wave * 32767).round().astype(np.int16).astype(np.float32)[4000:12000] / 32768))
    np.testing.assert_allclose(item.pieces, exact.numpy(), atol=1e-5)
    half = used(Decoder(DecodeConfig(), "none", ("speech",))(Utterance("u", Recording("r", audio=path))))
    assert half.pieces is not None
    assert half.pieces.dtype == np.float16


def test_face_of_a_picture(tmp_path: Path, astronaut: np.ndarray):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    item = used(EVERYTHING(of(tmp_path / "a.png")))
    assert item.faces is not None
    assert item.faces.shape == (1, 3, 48, 48)
    # The crop is the face, near (181, 62)..(268, 172), not the centre of the picture.
    from_here = astronaut[62:172, 170:280].mean((0, 1))
    np.testing.assert_allclose(item.faces[0].mean((1, 2)), from_here, atol=12)
    assert item.pieces is None
    assert item.notes == ()


def test_frames_without_a_face(tmp_path: Path, make_media: Callable[..., Path], astronaut: np.ndarray):
    blank = np.full((256, 256, 3), 90, np.uint8)
    face = np.ascontiguousarray(astronaut[::2, ::2])
    path = make_media(tmp_path / "a.mkv", [face, blank, face, blank], fps=2)
    item = used(EVERYTHING(of(path)))
    assert item.faces is not None
    assert len(item.faces) == 2
    assert item.notes == ("no sound", "no face in 2 of 4 frames") or item.notes == (
        "no face in 2 of 4 frames",
        "no sound",
    )
    centred = used(Decoder(DecodeConfig(no_face="centre-crop"), "detect", MODALITIES)(of(path)))
    assert centred.faces is not None
    assert len(centred.faces) == 4
    np.testing.assert_array_equal(centred.faces[1], 90)


def test_crops_are_taken_as_they_are(tmp_path: Path):
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "train/happy/a.png")
    crops = Decoder(DecodeConfig(), "crops", ("faces",))
    for path in (tmp_path / "a.png", tmp_path / "z.zip/train/happy/a.png"):
        item = used(crops(Utterance("u", Recording("r", video=path))))
        np.testing.assert_array_equal(item.faces, np.broadcast_to(grey, (1, 3, 48, 48)))
    Image.fromarray(grey[:24, :24]).save(tmp_path / "small.png")
    small = used(crops(Utterance("u", Recording("r", video=tmp_path / "small.png"))))
    assert small.faces is not None
    assert small.faces.shape == (1, 3, 48, 48)


def test_text_alone():
    item = used(EVERYTHING(Utterance("u", text="Just words.")))
    assert item.faces is None
    assert item.pieces is None


def test_nothing_left_is_left_out_with_the_reason(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"")
    broken = EVERYTHING(of(tmp_path / "a.mp4", part="dev"))
    assert isinstance(broken, LeftOut)
    assert broken.part == "dev"
    assert "a.mp4" in broken.reason
    Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(tmp_path / "b.png")
    assert EVERYTHING(of(tmp_path / "b.png")) == LeftOut("u", "no face in 1 of 1 frames")
    assert EVERYTHING(Utterance("u", text="  ")) == LeftOut("u", "has none of faces, speech, text")


def test_text_survives_broken_media_and_says_so(tmp_path: Path):
    (tmp_path / "a.mp4").write_text("this is text")
    item = used(EVERYTHING(of(tmp_path / "a.mp4", text="Hello")))
    assert len(item.notes) == 1
    assert "a.mp4" in item.notes[0]


def test_silence_is_cut_only_when_asked(tmp_path: Path, make_media: Callable[..., Path]):
    path = make_media(tmp_path / "a.wav", sound=np.zeros(16_000, np.float32))
    speech = Utterance("u", Recording("r", audio=path))
    kept = used(Decoder(DecodeConfig(), "none", ("speech",))(speech))
    assert kept.pieces is not None
    assert len(kept.pieces) == 3
    trimmed = Decoder(DecodeConfig(trim_silence=True), "none", ("speech",))(speech)
    assert trimmed == LeftOut("u", "no voice")


def test_silence_is_cut_as_the_recogniser_cuts_it(tmp_path: Path, make_media: Callable[..., Path]):
    voice = read_audio(DEMO, 0.5, 2.5).samples
    pause = np.zeros(16_000, np.float32)
    sound = np.concatenate((pause, voice, pause, voice, pause))
    path = make_media(tmp_path / "a.mkv", sound=sound, audio_codec="pcm_f32le", audio_format="flt")
    config = DecodeConfig(trim_silence=True, precision="float32")
    stored = used(Decoder(config, "none", ("speech",))(Utterance("u", Recording("r", audio=path)))).pieces
    heard = collect("u", wave=torch.from_numpy(read_audio(path).samples), settings=InputSettings(trim_silence=True))
    assert stored is not None
    assert heard.clip.pieces is not None
    np.testing.assert_array_equal(stored, heard.clip.pieces.numpy())
    assert 2 * len(voice) + len(pause) < len(stored) * 6400 < len(sound) - len(pause)


def test_content_hash_is_of_bytes_not_of_names(tmp_path: Path):
    (tmp_path / "a.bin").write_bytes(b"same")
    (tmp_path / "b.bin").write_bytes(b"same")
    (tmp_path / "c.bin").write_bytes(b"other")
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.bin", "in/a.bin")
    assert (
        content_hash(tmp_path / "a.bin")
        == content_hash(tmp_path / "b.bin")
        == content_hash(tmp_path / "z.zip/in/a.bin")
    )
    assert content_hash(tmp_path / "c.bin") != content_hash(tmp_path / "a.bin")
    for gone in ("none.bin", "z.zip/in/none.bin"):
        with pytest.raises(CorpusError, match="no such"):
            content_hash(tmp_path / gone)
