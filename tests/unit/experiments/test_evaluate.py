"""What an evaluation says it is an evaluation of."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from maeum.data.store import StoreItem, StoreWriter, write_shard
from maeum.errors import ConfigError, ModelError
from maeum.experiments.evaluate import evaluate
from maeum.experiments.recipe import Recipe
from maeum.experiments.train import build, finish, load_parts, train
from maeum.experiments.trained_on import TrainedOn
from maeum.labels import EKMAN, EMOTIONS
from maeum.models.pretrained import load_pretrained
from maeum.types import Utterance


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """A store that has speech alone."""
    items = [
        StoreItem(Utterance(f"{part}{i}", part=part, label=label, speaker=f"{part}{i}"), content=f"{part}{i}",
                  pieces=np.full((2, 1, 128, 32), i, np.float16))
        for part in ("train", "dev") for i, label in enumerate(EMOTIONS)
    ]  # fmt: skip
    with StoreWriter(tmp_path / "voices", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, items)
        about = {"name": "voices", "label_set": EKMAN.to_dict(), "licence": "L", "modalities": ["speech"]}
        writer.finish([path], about)
    return tmp_path / "voices"


def test_the_heading_names_what_the_items_have(small_model: Path, voices: Path):
    done = evaluate(small_model, voices, resamples=0)
    assert done.modalities == ("speech",)
    assert done.report.name.endswith("on voices dev, speech")


def test_a_temperature_is_filed_under_what_the_dev_items_have(voices: Path, tmp_path: Path):
    branch = {"widths": [4, 4, 4, 8], "stem_blocks": 1, "hidden": 8, "transformer": {"layers": 1, "heads": 2}}
    settings = {"name": "try", "network": {"dim": 8, "text": None, "faces": branch, "speech": branch},
                "train": [{"store": str(voices)}], "dev": [{"store": str(voices)}],
                "training": {"epochs": 1, "batch_size": 4, "precision": "fp32"}}  # fmt: skip
    recipe = Recipe.parse(settings)
    dev = load_parts(recipe.dev, "dev")
    known = TrainedOn(settings=recipe.split, splits={}, seen={"train": {}, "dev": {}})
    finish(recipe, build(recipe, dev.label_set), None, dev, tmp_path, "cpu", known)
    assert set(load_pretrained(tmp_path / "model").calibration.temperatures) == {"speech"}


def test_a_network_reads_what_the_data_give(voices: Path, tmp_path: Path):
    data = [{"store": str(voices), "modalities": ["speech"]}]
    settings = {"name": "try", "train": data, "dev": data, "training": {"epochs": 1}}
    with pytest.raises(ConfigError, match=r"fe2e reads faces, but no training item has it. Set network: {faces: null}"):
        train(Recipe.parse(settings), tmp_path / "run")
    network = {"faces": None, "text": None}
    words = {**settings, "network": network, "tokenizer": {"kind": "small", "vocabulary": 30}}
    with pytest.raises(ConfigError, match=r"a tokenizer gives text, but the network fe2e .* Add network: {text: {}}"):
        train(Recipe.parse(words), tmp_path / "run")
    asked = [{"store": str(voices), "modalities": ["speech", "text"]}]
    with pytest.raises(ConfigError, match=r"its data gives text, but the network lf-lstm"):
        train(
            Recipe.parse({**settings, "model": "lf-lstm", "network": {"faces": None}, "train": asked}), tmp_path / "run"
        )
    assert not (tmp_path / "run").exists(), "a recipe that cannot be used claims no folder"


def test_the_folder_of_a_run_leads_to_its_model(small_model: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(small_model, run / "model")
    with pytest.raises(ModelError, match=r"is not a model folder.*Give the model that this run made: .*run/model"):
        load_pretrained(run)
