"""Training from a recipe: what it makes, what it refuses, and that a killed run goes on as if nothing had been."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from maeum.config import MOST_SEED
from maeum.data.dataset import StoreDataset
from maeum.errors import ConfigError, CorpusError, ModelError, StoreError
from maeum.models.pretrained import load_pretrained, move_pretrained
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.runs.calibrate import CalibrateConfig, calibrate, made_by
from maeum.runs.evaluate import evaluate, evaluate_subsets
from maeum.runs.licences import is_commercial
from maeum.runs.predict import collator
from maeum.runs.recipe import Recipe
from maeum.runs.run_folder import hold_run_folder, reserve_run_folder
from maeum.runs.steps.network import build
from maeum.runs.train import train
from margins import Margin

WORDS = {"happiness": "what a lovely happy day", "sadness": "so sad i could cry", "anger": "leave me alone now"}
NETWORK = {"kind": "small", "vocabulary": 60, "width": 16, "channels": 16, "dim": 16}


def make_store(folder: Path, shift: int = 0) -> Path:
    """48 sentences; with a shift, sentences have the label of those so many further."""
    folder.mkdir(exist_ok=True)
    labels = list(WORDS)
    rows = ["path,text,label,speaker,part"]
    for i in range(48):
        part = "dev" if i >= 36 else "train"
        rows.append(f",{WORDS[labels[i % 3]]} number {i},{labels[(i + shift) % 3]},s{i},{part}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    prepare("folder", folder, folder / "store", PrepareConfig(options={"labels": labels}))
    return folder / "store"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("corpus"))


def recipe(store: Path, **changes: Any) -> Recipe:
    training = {
        "epochs": 6,
        "batch_size": 8,
        "lr": 0.01,
        "schedule": "constant",
        "warmup": 0.0,
        "loss": "bce",
        "class_weights": False,
        "checkpoint_every_s": 0.0,
        "ema": 0.5,
    }
    return Recipe.parse(
        {
            "name": "try",
            "network": {"dim": 8, "faces": None, "speech": None, "text": NETWORK},
            "tokenizer": {"kind": "small", "vocabulary": 60},
            "train": [{"store": str(store), "modalities": ["text"]}],
            "dev": [{"store": str(store), "modalities": ["text"]}],
            "training": {**training, **changes.pop("training", {})},
            **changes,
        }
    )


def log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.trains
def test_a_run_killed_in_the_middle_goes_on_exactly(store: Path, tmp_path: Path) -> None:
    settings = recipe(store, training={"epochs": 40})
    settings.save(tmp_path / "recipe.json")
    train(settings, tmp_path / "whole")
    killed = tmp_path / "killed"
    for wanted in (3, 15):
        command = [sys.executable, "-c", "from maeum.cli import main; main()", "train",
                   str(tmp_path / "recipe.json"), "--out", str(killed)]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                if (killed / "log.jsonl").exists() and len(log(killed)) >= wanted:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.005)
    assert 3 <= len(log(killed)) < 40, "it was over before it could be killed"
    train(settings, killed)
    assert {line["epoch"]: line for line in log(killed)} == {line["epoch"]: line for line in log(tmp_path / "whole")}
    a, b = (load_pretrained(run / "model").model.state_dict() for run in (killed, tmp_path / "whole"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_the_model_folder_states_data_licence_and_scores(store: Path, tmp_path: Path) -> None:
    report = train(recipe(store), tmp_path / "run")
    card = load_pretrained(report.model).card
    assert card.labels == tuple(WORDS)
    assert card.non_commercial, "a licence that is not known to allow it does not"
    assert {score.name for score in card.scores} >= {"accuracy", "uar", "macro_f1"}


def test_evaluation_of_the_folder_gives_the_scores_of_the_run(store: Path, tmp_path: Path) -> None:
    report = train(recipe(store), tmp_path / "run")
    again = evaluate(report.model, store, "dev")
    for name in ("accuracy", "uar", "macro_f1", "ece"):
        assert again.report[name] == pytest.approx(report.report[name], abs=1e-6)
    (alone,), left_out = evaluate_subsets(report.model, store, "dev")
    assert left_out == ()
    assert alone.modalities == ("text",)


def test_another_recipe_does_not_touch_a_run(store: Path, tmp_path: Path) -> None:
    train(recipe(store), tmp_path / "run")
    before = (tmp_path / "run" / "best.pt").read_bytes()
    with pytest.raises(StoreError, match=r"another recipe \(training.lr was .*, now 0.02\)"):
        train(recipe(store, training={"lr": 0.02}), tmp_path / "run")
    other = recipe(store)
    other = other.model_copy(update={"network": {**other.network, "new": None}})
    with pytest.raises(StoreError, match=r"network.new was not given, now null"):
        reserve_run_folder(tmp_path / "run", other)
    assert (tmp_path / "run" / "best.pt").read_bytes() == before


def test_a_branch_is_taken_over_whole(store: Path, tmp_path: Path) -> None:
    first = train(recipe(store), tmp_path / "first")
    frozen = {"epochs": 1, "lr_scale": {"": 0.0, "fusion": 1.0}}
    second = train(
        recipe(store, network={"dim": 8, "faces": None, "speech": None}, start_from={"text": str(first.model)},
               tokenizer=None, training=frozen),
        tmp_path / "second",
    )  # fmt: skip
    a, b = (load_pretrained(report.model).model.state_dict() for report in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a if name.startswith(("encoders.text", "heads.text")))


def test_settings_of_a_branch_that_is_taken_over_may_be_changed(store: Path, tmp_path: Path) -> None:
    first = train(recipe(store), tmp_path / "first")
    network = {"dim": 8, "faces": None, "speech": None, "text": {"summary_dropout": 0.123}}
    second = build(
        recipe(store, network=network, start_from={"text": str(first.model)}, tokenizer=None),
        load_pretrained(first.model).label_set,
    )
    theirs, ours = load_pretrained(first.model).model.config.text, second.config.text
    assert ours.summary_dropout == 0.123
    assert ours.model_copy(update={"summary_dropout": theirs.summary_dropout}) == theirs


@pytest.mark.trains
def test_a_teacher_is_learned_from(store: Path, tmp_path: Path, margin: Margin) -> None:
    """The teacher calls each sentence by another label than the pupil's data do, and the pupil follows it."""
    rotated = make_store(tmp_path / "rotated", shift=1)
    dev = [{"store": str(rotated), "modalities": ["text"]}]
    settings = {"loss": "cross-entropy", "epochs": 8}  # brier: the epoch that is surest is kept
    teacher = train(recipe(rotated, score="brier", training=settings), tmp_path / "teacher").model
    settings = {**settings, "losses": {"distillation": {"weight": 50.0}}, "epochs": 20}
    pupil = recipe(store, score="brier", dev=dev, teacher=str(teacher), tokenizer=None, training=settings)
    model = train(pupil, tmp_path / "pupil").model
    assert load_pretrained(model).tokenizer is not None
    labels = [evaluate(m, rotated, "dev").predictions.logits.argmax(1) for m in (teacher, model)]
    # 0.67 to 1, in the median 1, over 38 seeds on all vector units; 0 for a network that follows its own labels.
    margin("share of dev on which pupil and teacher agree", float((labels[0] == labels[1]).float().mean()), above=0.5)
    # 0 to 0.33; 1 for a network that follows its own labels.
    margin("accuracy of the pupil by its own labels", evaluate(model, store, "dev").report["accuracy"], below=0.5)


@pytest.mark.parametrize("changes", [{"teacher": "runs/none"}, {"training": {"losses": {"distillation": {}}}}])
def test_a_teacher_needs_its_weight(store: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    if "teacher" in changes:
        changes = {"teacher": str(train(recipe(store, training={"epochs": 1}), tmp_path / "first").model)}
    with pytest.raises(ConfigError, match=r"names a teacher, but no loss|needs a teacher, and the recipe names none"):
        train(recipe(store, **changes), tmp_path / "run")


def test_calibration_finishes_a_model(store: Path, tmp_path: Path) -> None:
    model = train(recipe(store), tmp_path / "run").model
    config = CalibrateConfig.parse(
        {"name": "done", "title": "Done", "model": str(model), "dev": [{"store": str(store)}],
         "trained_on": [str(store)], "intended_use": "tests", "limits": "all"}
    )  # fmt: skip
    done = calibrate(config, tmp_path / "done")
    assert set(done.calibration.temperatures) == {"text"}
    listed = {score.name: score.value for score in done.card.scores}
    measured = evaluate(done, store, "dev", intervals=False).report
    assert listed["accuracy"] == pytest.approx(measured["accuracy"], abs=1e-4)
    assert listed["ece"] == pytest.approx(measured["ece"], abs=1e-4)


def test_calibration_with_caution_is_less_sure_about_other_words(store: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    rows = [f",the train to platform {i} leaves at noon,,train" for i in range(24)]  # no labels
    (tmp_path / "other" / "table.csv").write_text("\n".join(["path,text,label,part", *rows]) + "\n", encoding="utf-8")
    options = {"labels": list(WORDS), "licence": "all rights reserved", "title": "Timetables"}
    prepare("folder", tmp_path / "other", tmp_path / "other" / "store", PrepareConfig(options=options))
    other = tmp_path / "other" / "store"
    model = train(recipe(store), tmp_path / "run").model
    settings = {"name": "done", "title": "Done", "model": str(model), "dev": [{"store": str(store)}],
                "trained_on": [str(store)], "branches": {"text": str(model)},
                "intended_use": "tests", "limits": "all"}  # fmt: skip
    plain = calibrate(CalibrateConfig.parse(settings), tmp_path / "plain")
    settings["caution"] = {"text": {"like": [str(store)], "unlike": [str(other)]}}
    done = calibrate(CalibrateConfig.parse(settings), tmp_path / "done")
    assert done.calibration.temperatures == plain.calibration.temperatures
    assert done.calibration.caution["text"].data == "36 training items against 24 of Timetables"
    assert any("Timetables" in source for source in done.card.branches["text"].data)
    assert done.card.branches["text"].non_commercial
    sure = {}
    for name, one in (("plain", plain), ("cautious", done)):
        for kind, folder in (("own", store), ("other", other)):
            items = StoreDataset(folder, "train", modalities=["text"])
            batch = collator(one.tokenizer, one.settings)([items[i] for i in range(len(items))])
            sure[name, kind] = float(one.probabilities(one.model(batch))[0].max(1).values.mean())
    assert sure["cautious", "other"] < sure["plain", "other"]
    lost = {kind: sure["plain", kind] - sure["cautious", kind] for kind in ("own", "other")}
    assert lost["other"] > 2 * lost["own"]
    settings["caution"] = {"faces": settings["caution"]["text"]}
    with pytest.raises(ConfigError, match="this network has none for faces"):
        calibrate(CalibrateConfig.parse(settings), tmp_path / "none")


def test_a_speaker_in_both_parts_is_refused(tmp_path: Path) -> None:
    for name, part in (("a", "train"), ("b", "dev")):
        (tmp_path / name).mkdir()
        others = [f",{words},{label},someone,test" for label, words in WORDS.items()] * (part == "dev")
        rows = [*others, *(f",{words} {name},{label},ann,{part}" for label, words in WORDS.items())]
        table = "\n".join(["path,text,label,speaker,part", *rows])
        (tmp_path / name / "table.csv").write_text(table + "\n", encoding="utf-8")
        prepare("folder", tmp_path / name, tmp_path / name / "store", PrepareConfig(options={"labels": list(WORDS)}))
    settings = recipe(tmp_path / "a" / "store", dev=[{"store": str(tmp_path / "b" / "store")}])
    with pytest.raises(CorpusError, match="1 speaker shared by train and dev"):
        train(settings, tmp_path / "run")


def test_a_score_of_another_task_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ccc"):
        train(recipe(store, score="ccc"), tmp_path / "run")


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("Apache-2.0", True),
        ("CC BY 4.0", True),
        ("CC BY-NC-SA 4.0", False),
        ("research use", False),
        ("", False),
        ("a: research use; b: Apache-2.0", False),
        ("MIT; CC0", True),
        ("LIMITED", False),
    ],
)
def test_only_known_free_licences_count_as_free(licence: str, free: bool) -> None:
    assert is_commercial(licence) is free


def test_two_trainings_in_one_folder_are_stopped(store: Path, tmp_path: Path) -> None:
    settings = recipe(store, training={"epochs": 1})
    with (
        hold_run_folder(tmp_path / "run"),
        pytest.raises(StoreError, match=r"run: is being trained in by another process\. Wait for it"),
    ):
        train(settings, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert train(settings, tmp_path / "run").epochs == 1


def test_labels_without_training_items_and_idle_variation_are_noted(tmp_path: Path) -> None:
    rows = [f",{WORDS[label]} {i},{label},s{i},{'dev' if i >= 8 else 'train'}" for i in range(12) for label in WORDS]
    rows = [row for row in rows if "anger" not in row or row.endswith("dev")]
    (tmp_path / "table.csv").write_text("\n".join(["path,text,label,speaker,part", *rows]) + "\n")
    prepare("folder", tmp_path, tmp_path / "store", PrepareConfig(options={"labels": [*WORDS, "fear"]}))
    console = Console(record=True, file=io.StringIO(), width=200)
    settings = recipe(tmp_path / "store", training={"epochs": 1}, augment={"faces": {}, "text": {}})
    train(settings, tmp_path / "run", console=console)
    lines = console.export_text().splitlines()
    assert lines[0] == (
        "train: no item of anger, fear, which the model cannot learn; to do without, train with --set "
        "'target={labels: [happiness, sadness]}'"
    )
    fewer = recipe(tmp_path / "store", training={"epochs": 1}, target={"labels": ["happiness", "sadness"]})
    console = Console(record=True, file=io.StringIO(), width=200)
    assert load_pretrained(train(fewer, tmp_path / "fewer", console=console).model).card.labels == (
        "happiness",
        "sadness",
    )
    assert "which the model cannot learn" not in console.export_text()
    assert lines[1] == "augment.faces has no effect: the network does not read faces"
    assert sum("augment" in line for line in lines) == 1


@pytest.mark.parametrize("changes", [{"trained_on": []}, {"dev": [{"store": "s", "subsets": []}]},
                                     {"dev": [{"store": "s", "subsets": [[]]}]}])  # fmt: skip
def test_empty_lists_finish_no_model(changes: dict[str, Any]) -> None:
    settings = {"name": "a", "title": "a", "model": "m", "dev": [{"store": "s"}], "trained_on": ["s"],
                "intended_use": "", "limits": ""}  # fmt: skip
    assert CalibrateConfig.parse(settings)
    with pytest.raises(ConfigError, match="needs at least 1 entry"):
        CalibrateConfig.parse({**settings, **changes})


def test_the_largest_seed_can_be_trained_with(store: Path, tmp_path: Path) -> None:
    settings = recipe(store, training={"epochs": 1, "seed": MOST_SEED, "accumulate": 2})
    assert train(settings, tmp_path / "run").epochs == 1


def test_a_model_that_was_not_finished_is_none(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the finished model was scored left a folder without scores that passed for it."""
    model = train(recipe(store, training={"epochs": 1}), tmp_path / "run").model
    config = CalibrateConfig.parse(
        {"name": "done", "title": "Done", "model": str(model), "dev": [{"store": str(store)}],
         "trained_on": [str(store)], "intended_use": "tests", "limits": "all"}
    )  # fmt: skip
    out = tmp_path / "done"

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("maeum.runs.calibrate.evaluate", stop)
        with pytest.raises(KeyboardInterrupt):
            calibrate(config, out)
    with pytest.raises(ModelError, match="is not a model folder"):
        load_pretrained(out)
    assert made_by(config).foreign(out) is None
    (out / ".part-killed").mkdir()
    assert calibrate(config, out).card.scores
    with monkeypatch.context() as patched:
        patched.setattr("maeum.models.pretrained.Path.replace", stop)
        with pytest.raises(KeyboardInterrupt):
            move_pretrained(model, out)
    with pytest.raises(ModelError, match=r"is not a model folder: config\.json is missing"):
        load_pretrained(out)
    assert made_by(config).foreign(out) is None, "the same command may replace it"
    assert calibrate(config, out).name == str(out)
    assert not list(out.glob(".*"))
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors", "config.json", "card.json", "README.md", "tokenizer", "split.json", "recipe.json"
    }  # fmt: skip
