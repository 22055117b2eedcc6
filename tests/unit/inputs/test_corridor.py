"""A recording enters the network as the same tensors, whether it was prepared as a corpus or is analysed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from PIL import Image

import maeum
from maeum.analysis.recognizer import Recognizer
from maeum.data.collate import Collator
from maeum.data.dataset import StoreDataset
from maeum.inputs.settings import ClipSettings, InputSettings
from maeum.inputs.utterances import UtteranceReader
from maeum.media.audio import read_audio
from maeum.media.video import sample_frames
from maeum.models.pretrained import load_pretrained
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.types import Clip, Recording, Sound, Utterance

DEMO = Path(__file__).resolve().parents[3] / "examples" / "demo.mp4"
TEXT = "What a wonderful day!"


@pytest.fixture
def entering(monkeypatch: pytest.MonkeyPatch) -> list[Clip]:
    """The clips that enter the network, in their order."""
    clips: list[Clip] = []
    collate = Collator.__call__

    def spy(self: Collator, some: Sequence[Clip]) -> Any:
        clips.extend(some)
        return collate(self, some)

    monkeypatch.setattr(Collator, "__call__", spy)
    return clips


def prepared(folder: Path, rows: list[dict[str, Any]], sound: Sound, **settings: Any) -> StoreDataset:
    """Utterances of recordings in a folder, as the clips of a store."""
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    config = PrepareConfig(precision="float32", wave=sound == "wave", **settings)
    prepare("folder", folder, folder / "store", config)
    return StoreDataset(folder / "store", sound=sound)


def assert_same(stored: Clip, used: Clip, modalities: tuple[str, ...]) -> None:
    assert stored.modalities == used.modalities == modalities
    assert stored.text == used.text
    for name in ("faces", "mel_chunks", "wave"):
        one, other = getattr(stored, name), getattr(used, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype
            assert torch.equal(one, other), name


def recognizer_of(folder: Path, **inputs: Any) -> Recognizer:
    return Recognizer(replace(load_pretrained(folder), settings=InputSettings(**inputs)))


def excerpt(path: Path, make_media: Callable[..., Path], rate_hz: int, channels: int = 1) -> Path:
    """Eight seconds of the demo clip, with sound that no codec changes."""
    frames = [frame.rgb for frame in sample_frames(DEMO, every_s=0.25, end_s=8.0)]
    mono = soxr.resample(read_audio(DEMO, 0.0, 8.0).samples, 16_000, rate_hz)
    sound = np.stack([mono] * channels) if channels > 1 else mono
    layout = "stereo" if channels == 2 else "mono"
    return make_media(
        path, frames, fps=4, codec="libx264", pix_fmt="yuv420p", sound=sound, rate_hz=rate_hz, layout=layout
    )


@pytest.mark.parametrize("sound", ["mel_chunks", "wave"])
@pytest.mark.parametrize("trim_silence", [False, True])
def test_a_whole_file_as_a_corpus_and_as_a_recording(
    small_model: Path,
    tmp_path: Path,
    make_media: Callable[..., Path],
    entering: list[Clip],
    sound: Sound,
    trim_silence: bool,
):
    clip = excerpt(tmp_path / "clip.mkv", make_media, 44_100, 2)
    row = {"path": clip.name, "label": "happiness", "text": TEXT}
    (stored,) = prepared(tmp_path, [row], sound, inputs=ClipSettings(trim_silence=trim_silence))
    words = tmp_path / "words.srt"
    words.write_text(f"1\n00:00:00,000 --> 00:00:09,000\n{TEXT}\n")
    recognizer_of(small_model, sound=sound, trim_silence=trim_silence).analyse(clip, words)
    (used,) = entering
    assert_same(stored, used, ("faces", "speech", "text"))
    assert used.faces is not None
    assert len(used.faces) == 16, "one every half second"
    assert len(stored.wave if sound == "wave" else stored.mel_chunks) > 0  # type: ignore[arg-type]


@pytest.mark.parametrize("sound", ["mel_chunks", "wave"])
def test_stretches_as_utterances_and_as_lines_of_a_transcript(
    small_model: Path, tmp_path: Path, make_media: Callable[..., Path], entering: list[Clip], sound: Sound
):
    clip = excerpt(tmp_path / "clip.mkv", make_media, 16_000)
    spans = [(0.5, 4.0, "What a wonderful day!"), (5.0, 8.0, "I was a little afraid.")]
    rows = [{"path": clip.name, "label": "fear", "text": t, "start_s": a, "end_s": b} for a, b, t in spans]
    dataset = prepared(tmp_path, rows, sound)
    words = tmp_path / "words.json"
    words.write_text(json.dumps([{"start": a, "end": b, "text": t} for a, b, t in spans]))
    recognizer_of(small_model, sound=sound).analyse(clip, words)
    used = [clip for clip in entering if clip.text]
    assert len(used) == len(dataset) == 2
    for i in range(2):
        stored, now = dataset[i], used[i]
        assert stored.faces is not None
        assert now.faces is not None
        # In a stream, where a face is found depends a little on the frames before it: see FaceDetector.detect_stream.
        assert stored.faces.shape == now.faces.shape
        assert (stored.faces.int() - now.faces.int()).abs().max() <= 3
        assert_same(replace(stored, faces=None), replace(now, faces=None), ("speech", "text"))


def test_arguments_of_predict_are_the_clip_that_a_corpus_has(
    small_model: Path, tmp_path: Path, entering: list[Clip], astronaut: Any
):
    """A picture of a face, in a corpus of crops and given to `predict`."""
    crop = np.ascontiguousarray(astronaut[60:180, 170:290])
    Image.fromarray(crop).save(tmp_path / "a.png")
    reader = UtteranceReader(ClipSettings(), "crops", ("faces",))
    stored = reader(Utterance("u", Recording("r", video=tmp_path / "a.png"))).clip
    maeum.load(small_model).predict(faces=[crop])
    assert_same(stored, entering[0], ("faces",))
