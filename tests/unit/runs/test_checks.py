"""A store is used only by models with the input settings that it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maeum.data.collage import CollageConfig, make_collage
from maeum.data.shards import StoreItem
from maeum.data.store import Store
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError
from maeum.inputs.settings import ClipSettings, InputSettings
from maeum.labels import EKMAN, EMOTIONS
from maeum.preparation.prepare import PrepareConfig
from maeum.runs.checks import check_inputs
from maeum.runs.evaluate import evaluate
from maeum.runs.recipe import Recipe
from maeum.runs.train import train
from maeum.types import Utterance

BRANCH = {"widths": [4, 4, 4, 8], "stem_blocks": 1, "hidden": 8, "transformer": {"layers": 1, "heads": 2}}


def make_store(
    folder: Path, frames: int = 2, mel_chunks: int = 2, made_with: dict[str, Any] | None = None, **inputs: Any
) -> Path:
    """A store with a face, a voice and a sentence of each label in train and in dev."""
    items = [
        StoreItem(
            Utterance(f"{part}{label}", part=part, label=label, speaker=f"{part}{label}", text=f"{part} {label}"),
            np.full((frames, 3, 48, 48), number, np.uint8) if frames else None,
            np.full((mel_chunks, 1, 128, 32), number, np.float16) if mel_chunks else None,
            content=f"{part}{label}",
        )
        for part in ("train", "dev")
        for number, label in enumerate(EMOTIONS)
    ]
    made_with = made_with or PrepareConfig(inputs=ClipSettings(**inputs)).store_settings()
    with StoreWriter(folder, {"corpus": "x", **made_with}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, items)
        manifest = {"name": folder.name, "label_set": EKMAN.to_dict(), "licence": "L", "citation": "C",
                    "faces": "detect", "modalities": ["faces", "speech", "text"]}  # fmt: skip
        writer.finish([path], manifest)
    return folder


@pytest.mark.parametrize(
    ("prepared", "inputs", "problem"),
    [
        ({"frame_every_s": 1.0}, {}, r"was prepared with frame_every_s: 1\.0, and the model's inputs have .*: 0\.5\."),
        ({}, {"frame_every_s": 0.25}, r"with inputs: \{frame_every_s: 0\.25\}, or train with inputs: .*: 0\.5\}"),
        ({"trim_silence": True}, {}, r"trim_silence: true, and the model's inputs have trim_silence: false"),
        ({}, {"trim_silence": True}, r"inputs: \{trim_silence: true\}, or train with inputs: \{trim_silence: false\}"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, prepared: dict[str, Any], inputs: dict[str, Any], problem: str):
    store = Store(make_store(tmp_path / "x", **prepared))
    with pytest.raises(ConfigError, match=problem):
        check_inputs(store, InputSettings(**inputs), ("faces", "speech"))
    assert check_inputs(store, InputSettings(**inputs), ("text",)) == ()
    assert check_inputs(store, InputSettings(**prepared), ("faces", "speech")) == ()


def test_what_left_no_trace_is_not_compared(tmp_path: Path):
    store = Store(make_store(tmp_path / "x", frames=1, mel_chunks=0))
    assert check_inputs(store, InputSettings(frame_every_s=2.0, trim_silence=True), ("faces", "speech")) == ()


def test_a_difference_without_a_setting_is_a_note(tmp_path: Path):
    made_with = PrepareConfig(no_face="centre-crop").store_settings()
    store = Store(make_store(tmp_path / "x", made_with=made_with))
    assert "show their centre" in check_inputs(store, InputSettings(), ("faces",))[0]


def test_a_collage_is_held_to_the_settings_of_its_voices(tmp_path: Path):
    source = make_store(tmp_path / "x", frame_every_s=1.0, trim_silence=True)
    make_collage([source], [source], [source], tmp_path / "c", CollageConfig(per_label={"train": 1}))
    collage = Store(tmp_path / "c")
    with pytest.raises(ConfigError, match="trim_silence: true"):
        check_inputs(collage, InputSettings(), ("faces", "speech"))
    assert check_inputs(collage, InputSettings(trim_silence=True), ("faces", "speech")) == ()


def test_training_and_evaluation_are_held_to_it(tmp_path: Path):
    good, other = make_store(tmp_path / "good"), make_store(tmp_path / "other", trim_silence=True)
    training = {"epochs": 1, "batch_size": 4, "precision": "fp32"}
    settings = {"name": "try", "network": {"dim": 8, "faces": None, "text": None, "speech": BRANCH},
                "dev": [{"store": str(good)}], "training": training}  # fmt: skip
    with pytest.raises(ConfigError, match=r"other: was prepared with trim_silence: true"):
        train(Recipe.parse({**settings, "train": [{"store": str(other)}]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    model = train(Recipe.parse({**settings, "train": [{"store": str(good)}]}), tmp_path / "run").model
    with pytest.raises(ConfigError, match=r"other: was prepared with trim_silence: true"):
        evaluate(model, other, intervals=False)
    assert evaluate(model, good, intervals=False).modalities == ("speech",)
