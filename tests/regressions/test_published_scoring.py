"""Defects of the published code's scoring that must not come back, one test each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from maeum.data.collate import Collator
from maeum.data.dataset import StoreDataset
from maeum.errors import EvaluationError
from maeum.evaluation import METRICS, PredictionSet, evaluate
from maeum.evaluation.metrics import accuracy, uar
from maeum.evaluation.thresholds import choose_thresholds
from maeum.labels import EKMAN, EMOTIONS, LabelSet
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.reports.report import compare
from maeum.runs.calibrate import CalibrateConfig, calibrate
from maeum.runs.evaluate import evaluate as score_part
from maeum.runs.recipe import Recipe
from maeum.runs.train import train

MULTI = LabelSet(EMOTIONS, "multi-label")


def test_mesm_10_utterances_without_frames_do_not_vanish(
    tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]
):
    """Published: utterances without frames were dropped in silence, in test too, so n shrank unnoticed."""
    source = tmp_path / "source"
    source.mkdir()
    blank = [np.full((64, 64, 3), 80, np.uint8)] * 4
    make_media(source / "faceless.mkv", blank, sound=make_sine(300, 0.4, 16_000))
    make_media(source / "sound.wav", sound=make_sine(300, 0.4, 16_000))
    make_media(source / "picture_only.mkv", blank)
    rows = ["faceless.mkv,fear", "sound.wav,anger", "picture_only.mkv,fear"]
    (source / "t.csv").write_text("path,label,part\n" + "".join(f"{row},test\n" for row in rows))
    report = prepare("folder", source, tmp_path / "store")
    assert report.account["items"] == 3
    assert [(item.id, item.reason) for item in report.left_out if "no face" in item.reason] == [
        ("picture_only.mkv", next(i.reason for i in report.left_out))
    ]
    clips = StoreDataset(tmp_path / "store", "test")
    assert set(clips.ids) == {"faceless.mkv", "sound.wav"}
    batch = Collator()([clips[0], clips[1]])
    assert len(batch) == 2
    assert batch.faces is None
    # And a prediction that is missing is an error, not a smaller n.
    with pytest.raises(EvaluationError, match="no prediction for 1 utterance"):
        PredictionSet(("sound.wav",), torch.zeros(1, 7), torch.zeros(1, dtype=torch.int64), expected=clips.ids)


def multi(part: str, seed: int) -> PredictionSet:
    generator = torch.Generator().manual_seed(seed)
    target = (torch.rand(80, 7, generator=generator) < 0.3).float()
    logits = target + torch.randn(80, 7, generator=generator) - 2.0
    return PredictionSet(tuple(f"{part}{i}" for i in range(80)), logits, target)


def test_mesm_12_thresholds_cannot_be_tuned_on_test():
    """Published: thresholds were chosen on the items that were scored."""
    test, dev = multi("test", 0), multi("dev", 1)
    fitted = choose_thresholds(torch.sigmoid(dev.logits), dev.target).values
    best = choose_thresholds(torch.sigmoid(test.logits), test.target).values
    assert best != fitted, "else this could not be seen"
    # Scoring has the thresholds that it is given, whatever is true of the items; without any they are 0.5.
    other = PredictionSet(test.ids, test.logits, 1 - test.target)
    for scored in (test, other):
        assert evaluate(scored, MULTI, thresholds=fitted, intervals=False).thresholds == fitted
        plain = evaluate(scored, MULTI, intervals=False)
        assert plain.thresholds is None
        assert plain["mean_f1"] == pytest.approx(sk.f1_score(scored.target, scored.logits > 0, average="macro"))


def test_mesm_13_f1_is_called_f1_and_auc_is_the_area():
    """Published: a column labelled AUC held F1."""
    dev, test = multi("dev", 1), multi("test", 0)
    fitted = choose_thresholds(torch.sigmoid(dev.logits.double()), dev.target).values
    report = evaluate(test, MULTI, thresholds=fitted, intervals=False)
    probs, target = torch.sigmoid(test.logits.double()).numpy(), test.target.numpy()
    said = probs > np.asarray(report.thresholds)
    f1 = sk.f1_score(target, said, average=None)
    area = sk.roc_auc_score(target, probs, average=None)
    assert np.abs(f1 - area).min() > 0.05, "else their names could be swapped"
    assert [row["f1"] for row in report.classes] == pytest.approx(f1.tolist())
    assert [row["roc_auc"] for row in report.classes] == pytest.approx(area.tolist())
    assert report["mean_f1"] == pytest.approx(f1.mean())
    assert report["mean_roc_auc"] == pytest.approx(area.mean())


def test_mesm_14_multi_label_is_not_scored_with_single_label_metrics():
    """Published: MOSEI (multi-label) was scored with IEMOCAP's metrics."""
    with pytest.raises(EvaluationError, match="accuracy is for single-label targets, not multi-label"):
        evaluate(multi("test", 0), MULTI, metrics=["accuracy"])
    target = torch.arange(14) % 7
    single = PredictionSet(tuple(map(str, range(14))), torch.eye(7)[target], target)
    with pytest.raises(EvaluationError, match="mean_wacc is for multi-label targets, not single-label"):
        evaluate(single, EKMAN, metrics=["mean_wacc"])
    several, one = evaluate(multi("test", 0), MULTI, intervals=False), evaluate(single, EKMAN, intervals=False)
    assert {METRICS[name].task for name in several.scores} == {"multi-label", "ranking"}
    assert {METRICS[name].task for name in one.scores} == {"single-label"}
    assert several.confusion is None


def prepared(folder: Path, task: str) -> Path:
    """Words of three parts, with one label each or several."""
    folder.mkdir()
    labels = {"single-label": ("anger", "fear", "fear"), "multi-label": ("anger|fear", "fear", "")}[task]
    rows = ["path,text,label,part"]
    words = ("so angry", "so afraid", "calm")
    rows += [f",{words[i % 3]} {i},{labels[i % 3]},{('train', 'dev', 'test')[i % 9 // 3]}" for i in range(72)]
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    options = {"labels": ["anger", "fear"], "task": task}
    prepare("folder", folder, folder / "store", PrepareConfig(options=options))
    return folder / "store"


def small_recipe(store: Path, score: str, *, training: Mapping[str, Any] | None = None) -> Recipe:
    text = {"kind": "small", "vocabulary": 40, "width": 8, "channels": 8, "dim": 8}
    data = [{"store": str(store), "modalities": ["text"]}]
    taught = {
        "epochs": 2,
        "batch_size": 8,
        "lr": 0.01,
        "schedule": "constant",
        "warmup": 0.0,
        "loss": "cross-entropy",
        "precision": "fp32",
    }
    return Recipe.parse({
        "name": "try", "network": {"dim": 8, "faces": None, "speech": None, "text": text}, "score": score,
        "tokenizer": {"kind": "small", "vocabulary": 40}, "train": data, "dev": data,
        "training": {**taught, **(training or {})},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("task", "loss", "own", "foreign"),
    [
        ("single-label", "cross-entropy", "mean_one_vs_rest_accuracy", "mean_wacc"),
        ("multi-label", "bce", "mean_wacc", "mean_one_vs_rest_accuracy"),
    ],
)
def test_mesm_14_a_report_page_has_the_scores_of_its_own_corpus(
    tmp_path: Path, task: str, loss: str, own: str, foreign: str
):
    """Published: the tables of MOSEI were made by the code for IEMOCAP's."""
    store = prepared(tmp_path / "corpus", task)
    model = train(small_recipe(store, own, training={"loss": loss}), tmp_path / "run").model
    made = compare([score_part(model, store, "test")])
    records = {record["score"]: record for record in json.loads(made.records)}
    for text in (made.page, made.markdown, records):
        assert own in text
        assert foreign not in text
    decisions = {record["decision"].split(",")[0].split(":")[0] for record in records.values()}
    if task == "single-label":
        assert decisions == {"the label with the highest probability", "none"}
    else:
        assert decisions == {"labels with a probability above their threshold", "none"}
    decided, undecided = ("accuracy", "brier") if task == "single-label" else ("mean_f1", "mean_roc_auc")
    assert records[undecided]["decision"] == "none: the probabilities as they are"
    assert records[decided]["decision"] != records[undecided]["decision"]


def test_mmer_04_accuracy_and_uar_are_not_swapped():
    """Published: the names of accuracy (share of all items) and of mean class recall were swapped."""
    target = [0] * 8 + [1] * 2
    preds = [0] * 10
    assert accuracy(preds, target) == pytest.approx(0.8)
    assert uar(preds, target, 2) == pytest.approx(0.5)
    outputs = np.eye(2)[preds]
    assert METRICS["accuracy"].function(outputs, np.asarray(target), "error") == pytest.approx(0.8)
    assert METRICS["uar"].function(outputs, np.asarray(target), "error") == pytest.approx(0.5)


def test_mmer_05_what_is_fitted_never_sees_what_is_scored(tmp_path: Path):
    """Published: the best epoch was chosen on the test session. Scores of items that something was fitted on say so."""
    store = prepared(tmp_path / "corpus", "single-label")
    model = train(small_recipe(store, "accuracy"), tmp_path / "run").model
    chosen = [note for note in score_part(model, store, "dev").report.notes if "of these items" in note]
    assert chosen == ["on 24 of these items the model's best epoch was chosen"]
    assert not any("of these items" in note for note in score_part(model, store, "test").report.notes)
    settings = {"name": "again", "title": "again", "model": str(model), "dev": [{"store": str(store), "part": "test"}],
                "trained_on": [str(store)], "intended_use": "", "limits": ""}  # fmt: skip
    finished = calibrate(CalibrateConfig.parse(settings), tmp_path / "finished").folder
    notes = score_part(finished, store, "test").report.notes
    assert "on 24 of these items the model was calibrated" in notes


def test_a_finished_model_keeps_the_seed_and_settings_of_its_training(tmp_path: Path):
    """`calibrate` lost them: passports of its models named neither."""
    store = prepared(tmp_path / "corpus", "single-label")
    model = train(small_recipe(store, "accuracy", training={"seed": 7}), tmp_path / "run").model
    settings = {"name": "again", "title": "again", "model": str(model), "dev": [{"store": str(store)}],
                "trained_on": [str(store)], "intended_use": "", "limits": ""}  # fmt: skip
    finished = calibrate(CalibrateConfig.parse(settings), tmp_path / "elsewhere" / "finished").folder
    about = [score_part(folder, store, "test").report.provenance for folder in (model, finished)]
    assert about[0] is not None
    assert about[1] is not None
    assert about[1].seeds == about[0].seeds == (7,)
    assert about[1].settings == about[0].settings
    assert about[1].settings["training"]["lr"] == 0.01
