"""What an evaluation says it is an evaluation of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maeum.data.store import StoreItem, StoreWriter, write_shard
from maeum.experiments.evaluate import evaluate
from maeum.experiments.recipe import Recipe
from maeum.experiments.train import train
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
    model = load_pretrained(train(Recipe.parse(settings), tmp_path / "run").model)
    assert set(model.calibration.temperatures) == {"speech"}
