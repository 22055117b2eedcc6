"""`maeum report` over two folds printed everything, ended with an error and wrote nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maeum.errors import ConfigError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.reports.report import compare
from maeum.runs import evaluate as module
from maeum.runs.evaluate import evaluate_models
from maeum.runs.recipe import Recipe
from maeum.runs.train import train


def words(folder: Path, labels: tuple[str, str]) -> Path:
    """A store of 48 sentences of four speakers."""
    folder.mkdir()
    rows = ["path,text,label,speaker"]
    rows += [f",{('so angry', 'so afraid')[i % 2]} {i},{labels[i % 2]},s{i // 2 % 4}" for i in range(48)]
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    prepare("folder", folder, folder / "store", PrepareConfig(options={"labels": list(labels)}))
    return folder / "store"


def fold(store: Path, out: Path, speaker: str) -> Path:
    text = {"kind": "small", "vocabulary": 40, "width": 8, "channels": 8, "dim": 8}
    data = [{"store": str(store), "modalities": ["text"]}]
    recipe = Recipe.parse({
        "name": f"without-{speaker}", "network": {"dim": 8, "faces": None, "speech": None, "text": text},
        "tokenizer": {"kind": "small", "vocabulary": 40}, "train": data, "dev": data,
        "split": {"kind": "leave-one-out", "by": "speaker", "test": speaker},
        "training": {"epochs": 1, "batch_size": 8, "lr": 0.01, "loss": "cross-entropy", "precision": "fp32"},
    })  # fmt: skip
    return train(recipe, out / speaker).model


def test_folds_of_different_items_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = words(tmp_path / "corpus", ("anger", "fear"))
    models = [fold(store, tmp_path, "s0"), fold(store, tmp_path, "s1")]
    first, second = done = list(evaluate_models(models, store, "test"))
    assert set(first.predictions.ids).isdisjoint(second.predictions.ids)
    made = compare(done)
    assert made.markdown.count("\n| majority baseline |") == 2, "each of its own items"
    assert "The models were scored on different items" in made.markdown
    assert made.markdown.count("**no intervals: 1 speaker only, where at least 3 are needed**") == 1
    assert "no interval for" not in made.markdown
    other = fold(words(tmp_path / "other", ("joy", "calm")), tmp_path / "elsewhere", "s0")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("scored before it was checked")

    monkeypatch.setattr(module, "predict_pretrained", refuse)
    with pytest.raises(ConfigError, match="answer other questions"):
        next(evaluate_models([models[0], other], store, "test"))
