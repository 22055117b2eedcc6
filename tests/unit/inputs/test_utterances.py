"""Utterances of a corpus as clips and store items."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from maeum.corpora.base import LeftOut
from maeum.data.shards import StoreItem
from maeum.errors import CorpusError, InputError
from maeum.inputs import utterances as module
from maeum.inputs.clip import make_clip
from maeum.inputs.settings import ClipSettings
from maeum.inputs.utterances import UtteranceReader
from maeum.media.audio import read_audio
from maeum.media.boxes import FaceBox
from maeum.media.faces import crop_face
from maeum.media.mel import to_mel_chunks
from maeum.preparation.items import ItemMaker, content_hash
from maeum.types import MODALITIES, Recording, Utterance

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo.mp4"


def maker(
    faces: Any, modalities: Any, precision: Any = "float16", trim_silence: bool = False, **reads: Any
) -> ItemMaker:
    settings = ClipSettings(trim_silence=trim_silence)
    return ItemMaker(UtteranceReader(settings, faces, modalities, **reads), precision)


EVERYTHING = maker("detect", MODALITIES)


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
    speech = maker("none", ("speech",), "float32")
    item = used(speech(Utterance("u", Recording("r", audio=path), start_s=0.25, end_s=0.75)))
    assert item.faces is None
    assert item.mel_chunks is not None
    exact = to_mel_chunks(
        torch.from_numpy((wave * 32767).round().astype(np.int16).astype(np.float32)[4000:12000] / 32768)
    )
    np.testing.assert_allclose(item.mel_chunks, exact.numpy(), atol=1e-5)
    half = used(maker("none", ("speech",))(Utterance("u", Recording("r", audio=path))))
    assert half.mel_chunks is not None
    assert half.mel_chunks.dtype == np.float16


def test_face_of_a_picture(tmp_path: Path, astronaut: np.ndarray):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    item = used(EVERYTHING(of(tmp_path / "a.png")))
    assert item.faces is not None
    assert item.faces.shape == (1, 3, 48, 48)
    # The crop is the face, near (181, 62)..(268, 172), not the centre of the picture.
    from_here = astronaut[62:172, 170:280].mean((0, 1))
    np.testing.assert_allclose(item.faces[0].mean((1, 2)), from_here, atol=12)
    assert item.mel_chunks is None
    assert item.notes == ()


def test_frames_without_a_face(tmp_path: Path, make_media: Callable[..., Path], astronaut: np.ndarray):
    blank = np.full((256, 256, 3), 90, np.uint8)
    face = np.ascontiguousarray(astronaut[::2, ::2])
    path = make_media(tmp_path / "a.mkv", [face, blank, face, blank], fps=2)
    item = used(EVERYTHING(of(path)))
    assert item.faces is not None
    assert len(item.faces) == 2
    assert item.notes == ("no face in 2 of 4 frames", "no sound")
    centred = used(maker("detect", MODALITIES, no_face="centre-crop")(of(path)))
    assert centred.faces is not None
    assert len(centred.faces) == 4
    np.testing.assert_array_equal(centred.faces[1], 90)


def test_crops_are_taken_as_they_are(tmp_path: Path):
    grey = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "train/happy/a.png")
    crops = maker("crops", ("faces",))
    for path in (tmp_path / "a.png", tmp_path / "z.zip/train/happy/a.png"):
        item = used(crops(Utterance("u", Recording("r", video=path))))
        np.testing.assert_array_equal(item.faces, np.broadcast_to(grey, (1, 3, 48, 48)))
    Image.fromarray(grey[:24, :24]).save(tmp_path / "small.png")
    small = used(crops(Utterance("u", Recording("r", video=tmp_path / "small.png"))))
    assert small.faces is not None
    assert small.faces.shape == (1, 3, 48, 48)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, make_media: Callable[..., Path], astronaut: np.ndarray) -> Path:
    """Forty seconds in which a face is on the left, always a little brighter; who is on the right is not seen."""
    face = astronaut[::2, ::2].astype(float)
    frames = []
    for number in range(80):
        frame = np.full((256, 512, 3), 90, np.uint8)
        frame[:, :256] = (face * (0.6 + number / 200)).clip(0, 255)
        frames.append(frame)
    path = tmp_path_factory.mktemp("pair") / "a.avi"
    return make_media(path, frames, times_ms=[500 * i for i in range(80)], codec="mpeg4", pix_fmt="yuv420p")


SPANS = ((0.5, 2.0), (1.25, 3.0), (1.25, 3.0), (-1.0, 0.75), (4.0, 5.5), (30.0, 32.5), (31.0, 31.2), (38.5, 42.0),
         (50.0, 51.0))  # fmt: skip


def spoken(path: Path, crop: tuple[float, float, float, float] | None = None) -> list[Utterance]:
    recording = Recording("r", video=path, crop=crop)
    spans = [*SPANS, (20.0, None), (3.0, 2.0)]
    return [Utterance(f"u{i}", recording, start_s=a, end_s=b, text="words") for i, (a, b) in enumerate(spans)]


def test_one_pass_over_a_recording_shows_what_one_after_the_other_shows(pair: Path, monkeypatch: pytest.MonkeyPatch):
    utterances = spoken(pair)
    alone = [used(EVERYTHING(utterance)) for utterance in utterances]
    passes = []
    sample = module.sample_frames
    monkeypatch.setattr(module, "sample_frames", lambda *a, **k: passes.append(k) or sample(*a, **k))
    together = [used(item) for item in EVERYTHING.items(utterances, {u.id: "" for u in utterances})]
    assert len(passes) == 4, "two groups of neighbours, one without an end, one that is empty"
    for one, other in zip(alone, together, strict=True):
        assert one.utterance == other.utterance
        assert (one.faces is None) == (other.faces is None)
        if one.faces is not None:
            np.testing.assert_array_equal(one.faces, other.faces)  # type: ignore[arg-type]
    assert [0 if item.faces is None else len(item.faces) for item in together] == [3, 4, 4, 2, 3, 5, 1, 2, 0, 39, 0]
    assert "start -1 s is before the recording; read from 0 s" in together[3].notes
    assert "5 of 7 pictures are not in the file" in together[7].notes
    assert "end 2 s is not after start 3 s" in " ".join(together[10].notes)


def test_a_crop_is_one_of_two_people(pair: Path):
    left, right = (used(EVERYTHING(spoken(pair, crop)[0])) for crop in ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)))
    assert left.faces is not None
    assert len(left.faces) == 3
    assert right.faces is None
    assert right.notes == ("no face in 3 of 3 frames",)


def test_a_crop_that_is_no_part_of_a_picture(tmp_path: Path):
    for crop in ((0.5, 0.0, 0.5, 1.0), (0.0, 0.0, 192.0, 96.0), (-0.1, 0.0, 0.5, 1.0)):
        with pytest.raises(InputError, match=r"r: the crop .* is no part of a picture\. Give left, top"):
            Recording("r", video=tmp_path / "a.avi", crop=crop)


def test_a_channel_and_a_file_that_holds_only_a_stretch(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]
):
    sound = np.stack([make_sine(300, 4.0, 16_000), make_sine(1500, 4.0, 16_000)])
    whole = make_media(tmp_path / "whole.wav", sound=sound, layout="stereo")
    stretch = make_media(tmp_path / "stretch.wav", sound=sound[1, 16_000:32_000])
    speech = maker("none", ("speech",), "float32")

    def heard(recording: Recording) -> Any:
        return used(speech(Utterance("u", recording, start_s=1.0, end_s=2.0))).mel_chunks

    right = heard(Recording("r", audio=whole, channel=1))
    np.testing.assert_allclose(right, heard(Recording("r", audio=stretch, audio_starts_s=1.0)), atol=1e-4)
    assert np.abs(right - heard(Recording("r", audio=whole, channel=0))).max() > 1
    assert np.abs(right - heard(Recording("r", audio=whole))).max() > 1
    gone = speech(Utterance("u", Recording("r", audio=whole, channel=2)))
    assert isinstance(gone, LeftOut)
    assert "has 2 channels, counted from 0; there is no channel 2" in gone.reason


def test_broken_pictures_do_not_cost_the_sound(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]
):
    (tmp_path / "a.avi").write_bytes(b"RIFF\0\0\0\0AVI ")
    sound = make_media(tmp_path / "a.wav", sound=make_sine(300, 1.0, 16_000))
    item = used(EVERYTHING(Utterance("u", Recording("r", video=tmp_path / "a.avi", audio=sound), notes=("before",))))
    assert item.mel_chunks is not None
    assert item.notes[0] == "before"
    assert "a.avi" in item.notes[1]


def test_text_alone():
    item = used(EVERYTHING(Utterance("u", text="Just words.")))
    assert item.faces is None
    assert item.mel_chunks is None


def test_nothing_left_is_left_out_with_the_reason(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"")
    broken = EVERYTHING(of(tmp_path / "a.mp4", part="dev"))
    assert isinstance(broken, LeftOut)
    assert broken.part == "dev"
    assert "a.mp4" in broken.reason
    Image.fromarray(np.zeros((100, 100, 3), np.uint8)).save(tmp_path / "b.png")
    assert EVERYTHING(of(tmp_path / "b.png")) == LeftOut("u", "no face in 1 of 1 frame")
    assert EVERYTHING(Utterance("u", text="  ")) == LeftOut("u", "has none of faces, speech, text")
    nothing = ItemMaker(UtteranceReader(ClipSettings(), "none", ()))  # of a corpus whose media are all gone
    assert nothing(Utterance("u")) == LeftOut("u", "has neither media nor words")


def test_text_survives_broken_media_and_says_so(tmp_path: Path):
    (tmp_path / "a.mp4").write_text("this is text")
    item = used(EVERYTHING(of(tmp_path / "a.mp4", text="Hello")))
    assert len(item.notes) == 1
    assert "a.mp4" in item.notes[0]


@pytest.mark.parametrize("trim_silence", [False, True])
def test_silence_and_a_moment_of_sound_are_no_speech(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any], trim_silence: bool
):
    speech = maker("none", ("speech",), trim_silence=trim_silence)
    silent = make_media(tmp_path / "silent.wav", sound=np.zeros(16_000, np.float32))
    moment = make_media(tmp_path / "moment.wav", sound=make_sine(300, 0.1, 16_000))
    for path, reason in (
        (silent, "no speech: the sound is silent"),
        (moment, "no speech: 0.10 s of sound is too short"),
    ):
        utterance = Utterance("u", Recording("r", audio=path))
        assert speech(utterance) == LeftOut("u", reason)
        beside = used(maker("none", ("speech", "text"))(replace(utterance, text="some words")))
        assert (beside.mel_chunks, beside.notes) == (None, (reason,))


def test_sound_without_voice_activity_is_the_speech_that_a_corpus_says_it_is(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]
):
    utterance = Utterance("u", Recording("r", audio=make_media(tmp_path / "a.wav", sound=make_sine(300, 1.0, 16_000))))
    plain, trimmed = (used(maker("none", ("speech",), trim_silence=trim)(utterance)) for trim in (False, True))
    assert plain.mel_chunks is not None
    np.testing.assert_array_equal(plain.mel_chunks, trimmed.mel_chunks)  # type: ignore[arg-type]


def test_a_text_of_signs_and_a_picture_of_one_colour_are_left_out(tmp_path: Path):
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(tmp_path / "black.png")
    crops = maker("crops", MODALITIES)
    black = Recording("r", video=tmp_path / "black.png")
    assert crops(Utterance("u", black)) == LeftOut("u", "no face: the picture is of one colour")
    assert crops(Utterance("u", text=" :( ")) == LeftOut("u", "no words: the text has only signs")
    item = used(crops(Utterance("u", black, text="so dark")))
    assert (item.faces, item.utterance.text, item.notes) == (
        None,
        "so dark",
        ("no face: the picture is of one colour",),
    )


def test_weak_detections_are_ignored(tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    weak, sure = FaceBox(0, 0, 300, 300, 0.89), FaceBox(170, 60, 290, 180, 0.9)
    monkeypatch.setattr(module.FaceDetector, "detect", lambda *_: [[weak, sure]])
    np.testing.assert_array_equal(
        used(EVERYTHING(of(tmp_path / "a.png"))).faces[0].transpose(1, 2, 0),  # type: ignore[index]
        crop_face(astronaut, sure),
    )
    monkeypatch.setattr(module.FaceDetector, "detect", lambda *_: [[weak]])
    assert EVERYTHING(of(tmp_path / "a.png")) == LeftOut("u", "no face in 1 of 1 frame")


def test_silence_is_cut_as_in_use(tmp_path: Path, make_media: Callable[..., Path]):
    voice = read_audio(DEMO, 0.5, 2.5).samples
    pause = np.zeros(16_000, np.float32)
    sound = np.concatenate((pause, voice, pause, voice, pause))
    path = make_media(tmp_path / "a.mkv", sound=sound, audio_codec="pcm_f32le", audio_format="flt")
    speech = maker("none", ("speech",), "float32", trim_silence=True)
    stored = used(speech(Utterance("u", Recording("r", audio=path)))).mel_chunks
    wave = torch.from_numpy(read_audio(path).samples)
    clip = make_clip("u", ClipSettings(trim_silence=True), wave=wave).clip
    assert stored is not None
    assert clip.mel_chunks is not None
    np.testing.assert_array_equal(stored, clip.mel_chunks.numpy())
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


@pytest.mark.parametrize("pictures", [False, True])
@pytest.mark.parametrize(("end_s", "noted"), [(9.0, True), (2.1, False), (1.5, False), (None, False)])
def test_an_end_beyond_the_recording_is_noted(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Any, pictures: bool, end_s: float | None, noted: bool
) -> None:
    frames = [np.full((64, 64, 3), 90, np.uint8)] * 20 if pictures else []
    path = make_media(tmp_path / "a.mkv", frames, fps=10, sound=make_sine(200, 2.0, 16_000))
    item = used(EVERYTHING(Utterance("u", Recording("r", video=path, audio=path), start_s=0.5, end_s=end_s)))
    note = "end 9 s is beyond the recording, which ends at 2.00 s"
    assert [one for one in item.notes if "beyond" in one] == [note] * noted
