"""What an evaluation says it is an evaluation of."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maeum.corpora.base import LeftOut
from maeum.data.collate import Collator
from maeum.data.shards import StoreItem
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError, EvaluationError, ModelError, StoreError
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import evaluate as score
from maeum.labels import EKMAN, EMOTIONS, LabelSet
from maeum.models.pretrained import load_pretrained
from maeum.runs.evaluate import Evaluation, evaluate, evaluate_subsets, pooled
from maeum.runs.recipe import Recipe
from maeum.runs.steps.data import TrainingData, load_parts
from maeum.runs.steps.network import build
from maeum.runs.train import finish, train
from maeum.runs.trained_on import TrainedOn
from maeum.types import Utterance


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """A store that has speech alone."""
    items = [
        StoreItem(Utterance(f"{part}{i}", part=part, label=label, speaker=f"{part}{i}"), content=f"{part}{i}",
                  mel_chunks=np.full((2, 1, 128, 32), i, np.float16))
        for part in ("train", "dev") for i, label in enumerate(EMOTIONS)
    ]  # fmt: skip
    with StoreWriter(tmp_path / "voices", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, items)
        about = {"name": "voices", "label_set": EKMAN.to_dict(), "licence": "L", "modalities": ["speech"]}
        writer.finish([path], about)
    return tmp_path / "voices"


def test_the_heading_names_what_the_items_have(small_model: Path, voices: Path):
    done = evaluate(small_model, voices, intervals=False)
    assert done.modalities == ("speech",)
    assert done.report.name.endswith("on voices dev, speech")


def test_sets_of_modalities_that_no_item_has_are_left_out(small_model: Path, tmp_path: Path):
    items = [
        StoreItem(Utterance(f"dev{i}", part="dev", label=label, text=f"number {i}"), content=f"dev{i}",
                  mel_chunks=np.full((2, 1, 128, 32), i, np.float16))
        for i, label in enumerate(EMOTIONS)
    ]  # fmt: skip
    with StoreWriter(tmp_path / "store", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, items)
        writer.finish([path], {"name": "mine", "label_set": EKMAN.to_dict(), "licence": "L",
                               "modalities": ["faces", "speech", "text"]})  # fmt: skip
    done, left_out = evaluate_subsets(small_model, tmp_path / "store", intervals=False)
    assert [one.modalities for one in done] == [("speech",), ("text",), ("speech", "text")]
    assert left_out == ("sets with faces are left out: none of 7 items has any",)
    with pytest.raises(StoreError, match=r"none of the 7 items of dev can be used: 7 have none of faces\. Read other"):
        evaluate(small_model, tmp_path / "store", "dev", ["faces"])


def test_a_temperature_is_filed_under_what_the_dev_items_have(voices: Path, tmp_path: Path):
    branch = {"widths": [4, 4, 4, 8], "stem_blocks": 1, "hidden": 8, "transformer": {"layers": 1, "heads": 2}}
    settings = {"name": "try", "network": {"dim": 8, "text": None, "faces": branch, "speech": branch},
                "train": [{"store": str(voices)}], "dev": [{"store": str(voices)}],
                "training": {"epochs": 1, "batch_size": 4, "precision": "fp32"}}  # fmt: skip
    recipe = Recipe.parse(settings)
    dev = load_parts(recipe.dev, "dev")
    known = TrainedOn(settings=recipe.split, splits={}, seen={"train": {}, "dev": {}})
    data = TrainingData(dev, dev, {}, known)
    finish(recipe, build(recipe, dev.label_set), None, data, Collator(), tmp_path, "cpu")
    assert set(load_pretrained(tmp_path / "model").calibration.temperatures) == {"speech"}


def test_a_network_reads_what_the_data_give(voices: Path, tmp_path: Path):
    data = [{"store": str(voices), "modalities": ["speech"]}]
    settings = {"name": "try", "train": data, "dev": data, "training": {"epochs": 1}}
    with pytest.raises(
        ConfigError,
        match=r"fe2e reads faces, but no training item has any. Set network: {faces: null} \(--set network.faces=null",
    ):
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


def fold(name: str, ids: Sequence[str], target: torch.Tensor, logits: torch.Tensor, **known: Any) -> Evaluation:
    """An evaluation as `evaluate` makes it, of these answers."""
    labels = LabelSet(("anger", "fear"), task="multi-label" if target.ndim == 2 else "single-label")
    said = PredictionSet(tuple(ids), logits, target)
    report = score(said, labels, name=name, intervals=False, absent="exclude", thresholds=known.pop("thresholds", None))
    rows = tuple({"id": id} for id in ids)
    return Evaluation(name, "made", name, ("text",), report, said, rows, **known)


def test_folds_are_scored_together() -> None:
    """What each could not use is counted over all of them, and so are the items that epochs were chosen on."""
    first = fold("a", "xy", torch.tensor([0, 1]), torch.tensor([[2.0, 0.0], [1.0, 0.0]]), known=True, chosen_on=2,
                 left_out=(LeftOut("p", "has no label"),))  # fmt: skip
    second = fold("b", "z", torch.tensor([1]), torch.tensor([[0.0, 3.0]]), known=True, chosen_on=1,
                  left_out=(LeftOut("q", "has no label"),))  # fmt: skip
    both = pooled([first, second])
    assert both.predictions.ids == ("x", "y", "z")
    assert both.report["accuracy"] == pytest.approx(2 / 3)
    assert both.part == "a, b"
    assert "2 items left out: has no label" in both.report.notes
    assert "on 3 of these items the model's best epoch was chosen" in both.report.notes
    with pytest.raises(EvaluationError, match="predicted twice"):
        pooled([first, first])


def test_folds_that_decide_at_their_own_thresholds_keep_them() -> None:
    """The same probabilities: above the first fold's threshold, below the second one's."""
    said = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    low = fold("a", "xy", target, said, thresholds=(0.3, 0.3))
    high = fold("b", "zu", target, said, thresholds=(0.7, 0.7))
    both = pooled([low, high])
    assert [row["predicted"] for row in both.report.classes] == [2, 2]
    assert ((both.predictions.logits > 0).all(1)).tolist() == [True, True, False, False]
