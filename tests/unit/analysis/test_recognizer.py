"""Predictions: any subset of modalities, abstention with a reason, and errors that name the argument and the remedy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maeum
from maeum.analysis.recognizer import Recognizer
from maeum.data.collate import Collator
from maeum.errors import InputError, MediaError, ModelError, TranscriptError
from maeum.inputs.speech import missing_speech_reason
from maeum.labels import EMOTIONS
from maeum.media.audio import read_audio
from maeum.media.faces import resize_face
from maeum.media.mel import to_mel_chunks
from maeum.models.pretrained import Calibration
from maeum.types import Clip

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo.mp4"


@pytest.fixture(scope="module")
def recognizer(small_model: Path) -> Recognizer:
    return maeum.load(small_model)


@pytest.fixture(scope="module")
def voice() -> Any:
    """Two seconds of a voice, 16 kHz."""
    return read_audio(DEMO, 0.5, 2.5).samples


@pytest.fixture(scope="module")
def picture(astronaut: Any) -> Any:
    return astronaut[60:180, 170:290]


def test_each_subset_answers_with_probabilities_and_shares(recognizer: Recognizer, voice: Any, picture: Any):
    given = {
        "faces": {"faces": [picture]},
        "speech": {"audio": voice, "sample_rate_hz": 16000},
        "text": {"text": "lovely"},
    }
    subsets = [("faces",), ("speech",), ("text",), ("faces", "speech"), ("speech", "text"), ("faces", "speech", "text")]
    for names in subsets:
        answer = recognizer.predict(**{k: v for name in names for k, v in given[name].items()})
        assert tuple(answer.probs) == EMOTIONS
        assert sum(answer.probs.values()) == pytest.approx(1, abs=1e-9)
        assert answer.label == max(answer.probs, key=lambda k: answer.probs[k])
        assert answer.confidence == answer.probs[answer.label]
        assert tuple(answer.modalities) == names
        assert sum(o.share for o in answer.modalities.values()) == pytest.approx(1, abs=1e-5)
        assert all(sum(o.probs.values()) == pytest.approx(1, abs=1e-9) for o in answer.modalities.values())
        assert (answer.reason, answer.notes) == (None, ())


def test_one_modality_alone_is_the_whole_answer(recognizer: Recognizer, picture: Any):
    answer = recognizer.predict(faces=[picture])
    assert answer.modalities["faces"].probs == pytest.approx(dict(answer.probs), abs=1e-6)
    assert answer.modalities["faces"].share == pytest.approx(1)


def test_it_is_the_model_itself_that_answers(recognizer: Recognizer, voice: Any, picture: Any):
    """Against the model called by hand, on tensors made by hand."""
    faces = torch.from_numpy(resize_face(picture).transpose(2, 0, 1).copy())[None]
    clip = Clip("x", faces, to_mel_chunks(torch.from_numpy(voice)), "so sad")
    with torch.inference_mode():
        output = recognizer.pretrained.model(Collator(recognizer.pretrained.tokenizer)([clip]))
    expected = output.logits.double().softmax(-1)[0].tolist()
    answer = recognizer.predict(faces=[picture], audio=voice, sample_rate_hz=16000, text="so sad")
    assert list(answer.probs.values()) == pytest.approx(expected, abs=1e-6)


def test_sound_of_other_layouts_is_the_same_sound(recognizer: Recognizer, voice: Any):
    mono = recognizer.predict(audio=voice, sample_rate_hz=16000)
    stereo = recognizer.predict(audio=np.stack([voice, voice]), sample_rate_hz=16000)
    whole = recognizer.predict(audio=(voice * 32767).astype(np.int16), sample_rate_hz=16000)
    assert dict(stereo.probs) == pytest.approx(dict(mono.probs), abs=1e-6)
    assert dict(whole.probs) == pytest.approx(dict(mono.probs), abs=0.02)


def test_equal_input_gives_equal_answers_from_many_threads(recognizer: Recognizer, voice: Any, picture: Any):
    def ask() -> None:
        answers.append(recognizer.predict(audio=voice, sample_rate_hz=16000, faces=[picture], text="a surprise"))

    answers: list[Any] = []
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"audio": np.zeros(16000, np.float32), "sample_rate_hz": 16000}, "no speech: the sound is silent"),
        ({"audio": np.full(16000, 0.3, np.float32), "sample_rate_hz": 16000}, "no speech: the sound is silent"),
        ({"audio": np.ones(800, np.float32), "sample_rate_hz": 16000}, "no speech: 0.05 s of sound is too short"),
        ({"audio": np.zeros(0, np.float32), "sample_rate_hz": 16000}, "no speech: 0.00 s of sound is too short"),
        ({"faces": []}, "no face"),
        ({"text": "   "}, "no words: the text is empty"),
        ({"faces": [], "text": ""}, "no face; no words: the text is empty"),
    ],
)
def test_it_abstains_with_the_reason_when_nothing_can_be_used(
    recognizer: Recognizer, given: dict[str, Any], reason: str
):
    answer = recognizer.predict(**given)
    assert (answer.label, answer.confidence, answer.reason) == (None, 0.0, reason)
    assert set(answer.probs.values()) == {1 / 7}
    assert answer.modalities == {}


def test_what_cannot_be_used_is_named_beside_an_answer(recognizer: Recognizer):
    answer = recognizer.predict(text="lovely", audio=np.zeros(16000), sample_rate_hz=8000, faces=[])
    assert answer.label is not None
    assert answer.notes == ("no face", "no speech: the sound is silent")


_CHANCE = np.random.default_rng(0)
_SECONDS = np.arange(32000) / 16000
NO_VOICE = {
    "noise": _CHANCE.normal(0, 0.1, 32000),
    "quiet noise": _CHANCE.normal(0, 0.001, 32000),
    "a tone": 0.3 * np.sin(2 * np.pi * 440 * _SECONDS),
    "hum": sum(0.1 / k * np.sin(2 * np.pi * 50 * k * _SECONDS) for k in range(1, 9)) + _CHANCE.normal(0, 2e-3, 32000),
    "clicks": np.where(np.arange(32000) % 7001 == 5000, 0.8, _CHANCE.normal(0, 1e-4, 32000)),
}


@pytest.mark.parametrize("sound", NO_VOICE.values(), ids=NO_VOICE)
def test_sound_without_a_voice_gets_no_answer(recognizer: Recognizer, sound: Any):
    alone = recognizer.predict(audio=sound, sample_rate_hz=16000)
    assert (alone.label, alone.reason) == (None, "no speech: there is sound, but no voice was found in it")
    beside = recognizer.predict(audio=sound, sample_rate_hz=16000, text="lovely")
    assert tuple(beside.modalities) == ("text",)
    assert beside.notes == (alone.reason,)
    assert beside.probs == pytest.approx(dict(recognizer.predict(text="lovely").probs))


@pytest.mark.parametrize("gain", [1.0, 10**-1.5])
def test_a_voice_is_not_refused(recognizer: Recognizer, voice: Any, gain: float):
    noisy = voice + _CHANCE.normal(0, 0.2 * np.sqrt(np.mean(voice**2)), len(voice))
    for sound, rate_hz in ((voice, 16000), (voice[::2], 8000), (noisy, 16000)):
        assert recognizer.predict(audio=gain * sound, sample_rate_hz=rate_hz).label is not None


def test_no_utterance_of_the_corpora_is_refused(shared_data: Path):
    """Every twentieth; docs/results/voice-activity.md has all of them, and under worse conditions."""
    files = [f for corpus in ("ravdess", "emodb") for f in sorted((shared_data / corpus).glob("*.flac"))[::20]]
    assert len(files) > 70
    assert [
        f.stem for f in files if missing_speech_reason(torch.from_numpy(read_audio(f).samples), require_voice=True)
    ] == []


def test_below_the_asked_confidence_it_abstains_but_shows_its_probabilities(recognizer: Recognizer):
    sure = recognizer.predict(text="lovely")
    unsure = recognizer.predict(text="lovely", min_confidence=1.0)
    assert unsure.label is None
    assert unsure.reason is not None
    assert str(sure.label) in unsure.reason
    assert unsure.probs == sure.probs


def test_a_model_with_a_bound_of_its_own_is_not_sure_below_it(recognizer: Recognizer):
    answer = recognizer.predict(text="lovely")
    first, second = sorted(answer.probs, key=lambda name: -answer.probs[name])[:2]
    bound = Calibration(least_confidence=min(1.0, answer.confidence + 0.001))
    careful = Recognizer(replace(recognizer.pretrained, calibration=bound))
    unsure = careful.predict(text="lovely")
    assert unsure.label is None
    assert unsure.reason is not None
    assert unsure.reason.startswith(f"not sure: {first} ")
    assert f" or {second} " in unsure.reason
    assert unsure.probs == answer.probs
    assert careful.predict(text="lovely", min_confidence=0.0).label == first


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({}, "predict", "at least one of"),
    ({"sample_rate_hz": 16000, "text": "hello"}, "sample_rate_hz", "Add audio="),
    ({"audio": np.ones(9)}, "sample_rate_hz", "Add sample_rate_hz="),
    ({"audio": np.ones(9), "sample_rate_hz": 0}, "audio", "rate in Hz"),
    ({"audio": np.ones(9), "sample_rate_hz": "fast"}, "audio", "in Hz"),
    ({"audio": np.array([0.1, np.nan, 0.2]), "sample_rate_hz": 16000}, "audio", "nan_to_num"),
    ({"audio": np.array([0.1, np.inf]), "sample_rate_hz": 16000}, "audio", "nan_to_num"),
    ({"audio": np.ones((900, 2)), "sample_rate_hz": 16000}, "audio", "transpose"),
    ({"audio": np.ones((2, 2, 2)), "sample_rate_hz": 16000}, "audio", "channels first"),
    ({"audio": "clip.wav", "sample_rate_hz": 16000}, "audio", "float array"),
    ({"audio": np.ones(9, bool), "sample_rate_hz": 16000}, "audio", "float array"),
    ({"audio": np.full(99, 20000.0), "sample_rate_hz": 16000}, "audio", "32768"),
    ({"audio": [[1.0], [1.0, 2.0]], "sample_rate_hz": 16000}, "audio", "float array"),
    ({"faces": np.zeros((9, 9, 3), np.uint8)}, "faces", "faces=[picture]"),
    ({"faces": [np.zeros((9, 9))]}, "faces[0]", "numpy.stack"),
    ({"faces": [np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9, 4), np.uint8)]}, "faces[1]", "[..., :3]"),
    ({"faces": [np.zeros((3, 9, 9), np.uint8)]}, "faces[0]", "transpose(1, 2, 0)"),
    ({"faces": [np.random.default_rng(0).random((9, 9, 3))]}, "faces[0]", "* 255"),
    ({"faces": [np.full((9, 9, 3), 200)]}, "faces[0]", "astype('uint8')"),
    ({"faces": [np.zeros((0, 9, 3), np.uint8)]}, "faces[0]", "Leave it out"),
    ({"faces": ["a.jpg"]}, "faces[0]", "uint8"),
    ({"faces": "a.jpg"}, "faces", "list of RGB"),
    ({"faces": 3}, "faces", "list of RGB"),
    ({"faces": [None]}, "faces[0]", "uint8"),
    ({"text": b"bytes"}, "text", "one str"),
    ({"text": ["two", "parts"]}, "text", "one str"),
    ({"text": "hello", "min_confidence": 7}, "min_confidence", "between 0 and 1"),
]


@pytest.mark.parametrize(("given", "item", "remedy"), BAD, ids=[f"{i}-{b[1]}" for i, b in enumerate(BAD)])
def test_bad_input_is_an_error_that_names_the_argument_and_the_remedy(
    recognizer: Recognizer, given: dict[str, Any], item: str, remedy: str
):
    with pytest.raises(InputError) as caught:
        recognizer.predict(**given)
    assert caught.value.item == item
    assert remedy in str(caught.value)


def test_a_model_without_an_encoder_for_it_says_so(recognizer: Recognizer, picture: Any):
    deaf = Recognizer(recognizer.pretrained)
    deaf.modalities = ("faces", "text")
    alone = deaf.predict(audio=np.random.default_rng(0).normal(0, 0.1, 16000), sample_rate_hz=16000)
    assert alone.reason == "this model does not read voices"
    both = deaf.predict(audio=np.random.default_rng(0).normal(0, 0.1, 16000), sample_rate_hz=16000, faces=[picture])
    assert both.label is not None
    assert both.notes == ("this model does not read voices",)


def test_long_sound_is_used_from_its_middle_and_it_is_said(recognizer: Recognizer, voice: Any):
    answer = recognizer.predict(audio=np.tile(voice, 16), sample_rate_hz=16000)
    assert answer.notes == ("of 32 s of sound the middle 26 s were used",)


def test_load_gives_the_same_recogniser_until_its_folder_changes(small_model: Path, tmp_path: Path):
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(small_model, folder)
    first = maeum.load(folder)
    assert maeum.load(str(folder)) is first
    card = (folder / "card.json").read_text()
    (folder / "card.json").write_text(card.replace("Random weights", "Other weights"))
    import os

    os.utime(folder / "card.json", ns=(1, 1))
    assert maeum.load(folder).card.title == "Other weights"


def test_loading_what_is_not_there_is_one_clear_error(tmp_path: Path):
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        maeum.load(tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        maeum.load("./not/here")


def test_a_device_that_is_not_there_is_one_clear_error(small_model: Path):
    with pytest.raises(ModelError, match="doctor"):
        maeum.load(small_model, device="cuda:77")


# Recordings


def test_the_demo_clip_has_a_segment_for_each_line_with_all_modalities(recognizer: Recognizer):
    said = []
    timeline = recognizer.analyse(
        DEMO, DEMO.with_suffix(".srt"), progress=lambda what, done, all: said.append((what, done, all))
    )
    spoken = [s for s in timeline.segments if s.text]
    assert [s.text.split()[0] for s in spoken if s.text] == ["What", "I", "And"]
    assert all(tuple(s.prediction.modalities) == ("faces", "speech", "text") for s in spoken)
    assert {s.face for s in spoken} == {1}
    assert len(timeline.tracks) == 1
    assert len(timeline.tracks[0].boxes) == 28, "one every half second"
    assert timeline.tracks[0].thumbnail_png is not None
    assert timeline.tracks[0].thumbnail_png.startswith(b"\x89PNG")
    assert timeline.duration_s == pytest.approx(13.78, abs=0.1)
    assert {what for what, _, _ in said} == {"sound", "faces", "emotions"}
    assert all(0 <= done <= all + 1 for _, done, all in said)


def test_without_a_transcript_the_voice_makes_the_segments(recognizer: Recognizer, tmp_path: Path, make_media: Any):
    wave = read_audio(DEMO).samples
    clip = make_media(tmp_path / "voice.wav", sound=wave, container_format="wav")
    timeline = recognizer.analyse(clip)
    assert len(timeline.segments) == 3
    lines = [(0.4, 4.19), (5.09, 8.42), (9.32, 12.97)]
    for segment, (start, end) in zip(timeline.segments, lines, strict=True):
        assert segment.start_s == pytest.approx(start, abs=0.35)
        assert segment.end_s == pytest.approx(end, abs=0.35)
        assert tuple(segment.prediction.modalities) == ("speech",)
    assert "there is no picture" in timeline.notes


def test_nobody_seen_or_heard_is_one_segment_that_abstains(
    recognizer: Recognizer, tmp_path: Path, make_media: Callable[..., Path], make_grey_frames: Any
):
    clip = make_media(tmp_path / "grey.mkv", make_grey_frames([50] * 10), sound=np.zeros(16000, np.float32))
    (segment,) = recognizer.analyse(clip).segments
    assert (segment.start_s, segment.prediction.label) == (0.0, None)
    assert segment.prediction.reason == "no face in 2 pictures; the sound is silent"


def test_noise_is_not_heard_as_a_voice_even_with_a_transcript(
    recognizer: Recognizer, tmp_path: Path, make_media: Callable[..., Path]
):
    clip = make_media(tmp_path / "noise.wav", sound=NO_VOICE["noise"].astype(np.float32), container_format="wav")
    (tmp_path / "words.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nlovely\n")
    timeline = recognizer.analyse(clip, tmp_path / "words.srt")
    (segment,) = timeline.segments
    assert tuple(segment.prediction.modalities) == ("text",)
    assert "there is sound, but no voice was found in it" in timeline.notes


def test_a_bad_recording_or_transcript_is_an_error_that_names_it(recognizer: Recognizer, tmp_path: Path):
    (tmp_path / "bad.srt").write_text("1\n00:00:09,000 --> 00:00:01,000\nbackwards\n")
    with pytest.raises(MediaError, match=r"none\.mp4"):
        recognizer.analyse(tmp_path / "none.mp4")
    with pytest.raises(TranscriptError, match=r"bad\.srt"):
        recognizer.analyse(DEMO, tmp_path / "bad.srt")


@pytest.mark.parametrize(
    ("given", "item"),
    [
        ({"path": None}, "path"),
        ({"path": 3}, "path"),
        ({"path": b"clip.mp4"}, "path"),
        ({"path": ["a.mp4", "b.mp4"]}, "path"),
        ({"path": DEMO, "transcript": 3}, "transcript"),
        ({"path": DEMO, "transcript": ["some", "words"]}, "transcript"),
        ({"path": DEMO, "min_confidence": "high"}, "min_confidence"),
        ({"path": DEMO, "progress": 3}, "progress"),
    ],
)
def test_an_argument_of_another_type_is_an_error_that_names_it(
    recognizer: Recognizer, given: dict[str, Any], item: str
):
    with pytest.raises(InputError) as caught:
        recognizer.analyse(**given)
    assert caught.value.item == item
    assert caught.value.remedy


@pytest.mark.parametrize(("given", "item"), [({"name_or_dir": 3}, "name_or_dir"), ({"device": 0}, "device")])
def test_load_names_the_argument_of_another_type(given: dict[str, Any], item: str):
    with pytest.raises(InputError) as caught:
        maeum.load(**given)
    assert caught.value.item == item


def test_importing_maeum_is_light():
    import subprocess
    import sys

    code = "import sys, maeum; assert 'torch' not in sys.modules; print(maeum.__version__, 'load' in dir(maeum))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [maeum.__version__, "True"]
    with pytest.raises(AttributeError):
        _ = maeum.nonsense


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"text": " ... !?"}, "only signs"),
        ({"faces": [np.zeros((80, 80, 3), np.uint8)]}, "of one colour"),
        ({"faces": [np.full((1, 1, 3), 120, np.uint8)]}, "of one colour"),
    ],
)
def test_what_shows_or_says_nothing_gets_no_answer(recognizer: Recognizer, given: dict[str, Any], says: str):
    answer = recognizer.predict(**given)
    assert answer.label is None
    assert answer.reason is not None
    assert says in answer.reason
    assert sum(answer.probs.values()) == pytest.approx(1)


def test_blank_pictures_among_others_are_left_out_and_counted(recognizer: Recognizer, picture: Any):
    alone = recognizer.predict(faces=[picture])
    mixed = recognizer.predict(faces=[np.zeros((48, 48, 3), np.uint8), picture])
    assert mixed.probs == pytest.approx(alone.probs)
    assert "1 picture of one colour was left out" in mixed.notes


def test_words_in_letters_that_the_model_does_not_know_get_no_answer(picture: Any):
    shipped = maeum.load()
    alone = shipped.predict(text="나는 오늘 정말 행복해요")
    assert alone.label is None
    assert alone.reason is not None
    assert "letters that this model does not read" in alone.reason
    beside = shipped.predict(text="Я так рад тебя видеть", faces=[picture])
    assert tuple(beside.modalities) == ("faces",)
    assert "letters" in beside.notes[0]
    assert shipped.predict(text="ça va, I am so happy to see you 😂").label == "happiness"
