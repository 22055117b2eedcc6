"""Networks compared: the recipes that are made, what is trained again, and the numbers in the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maeum.errors import ConfigError, StoreError
from maeum.evaluation.metrics import accuracy
from maeum.models.pretrained import load_pretrained
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.runs.evaluate import evaluate
from maeum.runs.predict import predict_pretrained
from maeum.runs.recipe import Recipe
from maeum.runs.steps.data import load_parts
from maeum.studies import compare as module
from maeum.studies.compare import Comparison, check_together, compare, comparison_table, markdown_page
from margins import Margin

WORDS = {"happiness": "what a lovely happy day", "sadness": "so sad i could cry", "anger": "leave me alone now"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    rows = ["path,text,label,speaker,part"]
    for i in range(60):
        label = list(WORDS)[i % 3 if i < 36 or i % 4 else 0]
        rows.append(f",{WORDS[label if i % 5 else 'anger']} number {i},{label},s{i},{'dev' if i >= 36 else 'train'}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    prepare("folder", folder, folder / "store", PrepareConfig(options={"labels": list(WORDS)}))
    return folder / "store"


def comparison(store: Path, **changes: Any) -> Comparison:
    text = {"vocabulary": 60, "width": 8}
    settings = {
        "name": "words",
        "title": "Some words",
        "shared": {
            "train": [{"store": str(store), "modalities": ["text"]}],
            "dev": [{"store": str(store), "modalities": ["text"]}],
            "tokenizer": {"kind": "small", "vocabulary": 60},
            "network": {"faces": None, "speech": None, "text": text},
            "training": {"epochs": 2, "batch_size": 8, "lr": 0.02, "schedule": "constant", "warmup": 0.0,
                         "loss": "cross-entropy", "class_weights": False},
        },
        "entries": {
            "lstm": {"title": "LF-LSTM", "model": "lf-lstm", "network": {"hidden": 4}},
            "mult": {"title": "MulT", "model": "mult", "network": {"heads": 2, "dim": 8, "blocks": 1},
                     "training": {"epochs": 3}},
        },
    }  # fmt: skip
    return Comparison.parse({**settings, **changes})


def test_an_entry_has_the_shared_settings_and_its_own(store: Path) -> None:
    recipe = comparison(store).recipe("mult")
    assert (recipe.name, recipe.model, recipe.score) == ("words-mult", "mult", "macro_f1")
    assert (recipe.training.epochs, recipe.training.lr) == (3, 0.02)
    assert recipe.network["dim"] == 8
    assert recipe.network["faces"] is None
    assert comparison(store).recipe("lstm").training.epochs == 2


def test_an_entry_may_be_trained_on_other_data(store: Path) -> None:
    shared = comparison(store).recipe("lstm").train
    views = [{"store": str(store), "views": str(store / "views"), "modalities": ["text"]}]
    entries = {
        "a": {"title": "a", "model": "lf-lstm"},
        "b": {"title": "b", "model": "lf-lstm", "train": views},
    }
    found = comparison(store, entries=entries)
    assert found.recipe("a").train == shared
    assert [(data.views, data.modalities) for data in found.recipe("b").train] == [(store / "views", ("text",))]
    assert found.recipe("b").dev == found.recipe("a").dev


def test_a_wrong_setting_is_named(store: Path, tmp_path: Path) -> None:
    wrong = {
        "lstm": {"title": "x", "model": "lf-lstm"},
        "b": {"title": "x", "model": "lf-lstm", "training": {"epoch": 1}},
    }
    with pytest.raises(ConfigError, match=r"words, b: unknown setting 'training\.epoch'"):
        compare(comparison(store, entries=wrong), tmp_path)
    assert not list(tmp_path.iterdir())


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("trained")


def test_a_part_without_items_and_a_wrong_network_are_found_before_training(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "train", refuse)
    with pytest.raises(StoreError, match=r"^words, lstm, .*: has nothing in part 'tset'"):
        compare(comparison(store, part="tset"), tmp_path)
    wrong = {
        "a": {"title": "x", "model": "lf-lstm"},
        "b": {"title": "x", "model": "lf-lstm", "network": {"hiden": 4}},
    }
    with pytest.raises(ConfigError, match=r"^words-b, network: unknown setting 'hiden'"):
        compare(comparison(store, entries=wrong), tmp_path)


@pytest.mark.parametrize("name", ["../../up", "a/b", "..", "", "a\\b"])
def test_names_of_folders_stay_within_the_folder_of_the_runs(store: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a folder"):
        comparison(store, name=name)
    with pytest.raises(ConfigError, match="cannot be the name of a folder"):
        comparison(store, entries={name: {"title": "x", "model": "lf-lstm"}})


def test_comparisons_of_one_name_are_refused(store: Path) -> None:
    check_together([comparison(store), comparison(store, name="other")])
    with pytest.raises(ConfigError, match="words: is the name of two comparisons"):
        check_together([comparison(store), comparison(store)])


def test_an_error_of_a_training_names_its_entry(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("is full", item="disk")

    monkeypatch.setattr(module, "train", fail)
    with pytest.raises(StoreError, match=r"^words, lstm, disk: is full$"):
        compare(comparison(store), tmp_path)


def test_an_entry_may_start_from_another(store: Path, tmp_path: Path) -> None:
    text = {"text": {"kind": "small", "vocabulary": 60, "width": 8, "channels": 8, "dim": 8}}
    frozen = {"lr_scale": {"encoders.text": 0}, "losses": {"distillation": {}}}
    asked = comparison(store, entries={
        "first": {"title": "first", "model": "fe2e", "network": text},
        "second": {"title": "second", "model": "fe2e", "init_from": "first", "network": text, "training": frozen},
    })  # fmt: skip
    compare(asked, tmp_path, intervals=False)
    first, second = (load_pretrained(tmp_path / "words" / name / "model") for name in ("first", "second"))
    learned, before = second.model.state_dict(), first.model.state_dict()
    assert all(torch.equal(learned[n], before[n]) for n in before if n.startswith("encoders.text."))
    assert not torch.equal(learned["heads.text.weight"], before["heads.text.weight"])
    recipe = Recipe.load(tmp_path / "words" / "second" / "recipe.json")
    assert recipe.teacher == tmp_path / "words" / "first" / "model"


@pytest.mark.trains
def test_scores_differences_and_the_baseline(store: Path, tmp_path: Path, margin: Margin) -> None:
    asked = comparison(store, metrics=["accuracy", "macro_f1"])
    done = compare(asked, tmp_path)
    assert done.items == 24
    runs = [tmp_path / "words" / name / "model" for name in ("lstm", "mult")]
    for row, run in zip(done.rows, runs, strict=True):
        alone = evaluate(run, store).report
        assert row.scores["accuracy"] == alone.scores["accuracy"]
        assert row.scores["macro_f1"] == alone.scores["macro_f1"]
        assert row.cpu_minutes > 0
    assert [row.epochs for row in done.rows] == [2, 3]
    assert done.rows[0].difference is None
    difference = done.rows[1].difference
    assert difference is not None
    assert difference.interval is not None
    assert difference.value == pytest.approx(
        done.rows[1].scores["accuracy"].value - done.rows[0].scores["accuracy"].value
    )
    said = [predict_pretrained(load_pretrained(run), load_parts(asked.recipe("lstm").dev, "dev")) for run in runs]
    right = [(s.logits.argmax(1) == s.target).numpy().astype(float) for s in said]
    spread = (right[1] - right[0]).std() / np.sqrt(24)  # of the paired difference of two accuracies
    width = difference.interval.high - difference.interval.low
    # Student's t over 24 speakers makes it 1.08 times as wide, whatever was learned.
    margin("width off the normal one", abs(width / (3.92 * spread) - 1) if spread else width, below=0.5)
    target = said[0].target.numpy()
    most = np.bincount(target).argmax()
    assert done.majority["accuracy"] == accuracy(np.full_like(target, most), target)


def test_what_is_trained_is_not_trained_again(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compare(comparison(store), tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train", refuse)
    assert compare(comparison(store), tmp_path) == first


def test_a_run_of_other_settings_is_not_taken_for_this_one(store: Path, tmp_path: Path) -> None:
    compare(comparison(store), tmp_path, intervals=False)
    changed = comparison(store, entries={"lstm": {"title": "LF-LSTM", "model": "lf-lstm", "network": {"hidden": 5}}})
    with pytest.raises(StoreError, match="another recipe"):
        compare(changed, tmp_path, intervals=False)


def test_the_table_has_a_row_for_each_network_and_the_baseline(store: Path, tmp_path: Path) -> None:
    done = compare(comparison(store), tmp_path)
    rows = [line.strip("| ").split(" | ") for line in comparison_table([done]).splitlines()]
    assert rows[0][:3] == ["data", "network", "macro f1 ↑"]
    assert [row[0] for row in rows[2:3]] == ["Some words, 24 items of 24 speakers"]
    assert len(rows) == 5
    value = done.rows[0].scores["macro_f1"].value
    assert rows[2][2].startswith(f"{value:.3f} (")
    assert rows[4][0] == "majority baseline"
    assert rows[4][1] == f"{done.majority['macro_f1']:.3f}"
    assert comparison_table([done]) in markdown_page([done])
    assert "In brackets: 95 % confidence intervals" in markdown_page([done])


def test_tables_of_different_metrics_are_refused(store: Path, tmp_path: Path) -> None:
    one = compare(comparison(store), tmp_path, intervals=False)
    other = compare(comparison(store, name="b", metrics=["uar"]), tmp_path, intervals=False)
    page = markdown_page([one])
    assert "There are no confidence intervals" in " ".join(page.split())
    assert "In brackets" not in page
    with pytest.raises(ConfigError, match="b: shows uar"):
        comparison_table([one, other])
