"""Training and evaluation for every kind of target, and what is refused before a training starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from maeum.data.dataset import StoreDataset
from maeum.errors import ConfigError, ModelError
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.thresholds import choose_thresholds
from maeum.labels import LabelSet
from maeum.models.card import ModelCard
from maeum.models.pretrained import Calibration, load_pretrained, save_pretrained
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.reports.report import compare
from maeum.reports.terminal import show_report
from maeum.runs.calibrate import CalibrateConfig, calibrate
from maeum.runs.evaluate import evaluate
from maeum.runs.licences import licences_of
from maeum.runs.predict import collator, predict_items
from maeum.runs.recipe import Recipe
from maeum.runs.steps.fit import dev_scores
from maeum.runs.train import train
from margins import Margin

WORDS = ("lovely happy day", "so sad i cry", "leave me alone")
NETWORK = {"kind": "small", "vocabulary": 60, "width": 16, "channels": 16, "dim": 16,
           "token_dropout": 0.0, "embedding_dropout": 0.0, "summary_dropout": 0.0}  # fmt: skip
SCALES = {"labels": ["valence", "arousal"], "task": "dimensional", "ranges": [[1, 5], [-1, 1]]}
VALUES = ("4.5,0.5", "1.5,-0.5", "2,0.9")
LABELS = ("joy|calm", "sorrow", "rage")


def make_store(
    folder: Path, columns: str, values: tuple[str, ...], options: dict[str, Any], speakers: int = 99
) -> Path:
    rows = [f"path,text,speaker,part,{columns}", f",nobody said what this is,x,train,{',' * columns.count(',')}"]
    for i in range(36):
        rows.append(f",{WORDS[i % 3]} {i},s{i % speakers},{'dev' if i >= 24 else 'train'},{values[i % len(values)]}")
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    prepare("folder", folder, folder / "store", PrepareConfig(options=options))
    return folder / "store"


def recipe(store: Path, loss: str, metric: str, **changes: Any) -> Recipe:
    training = {
        "epochs": 6,
        "batch_size": 8,
        "lr": 0.02,
        "schedule": "constant",
        "warmup": 0.0,
        "loss": loss,
        "precision": "fp32",
    }
    data = [{"store": str(store), "modalities": ["text"]}]
    settings = {"name": "try", "network": {"dim": 8, "faces": None, "speech": None, "text": NETWORK},
                "tokenizer": {"kind": "small", "vocabulary": 60}, "train": data, "dev": data,
                "training": training, "score": metric}  # fmt: skip
    return Recipe.parse({**settings, **changes})


@pytest.fixture(scope="module")
def scales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("scales") / "x", "valence,arousal", VALUES, SCALES)


@pytest.mark.trains
def test_scales_are_learned_and_evaluated(scales: Path, tmp_path: Path, margin: Margin) -> None:
    report = train(recipe(scales, "squared-error", "mean_ccc"), tmp_path / "run")
    # 0.85 to 0.95 over 6 seeds, two vector units.
    margin("mean_ccc, chance has 0", report.report["mean_ccc"], above=0.6)
    again = evaluate(report.model, scales, "dev")
    assert again.report["mean_mae"] == pytest.approx(report.report["mean_mae"], abs=1e-5)
    assert [row["name"] for row in again.report.classes] == ["valence", "arousal"]
    assert sum(row["ccc"] for row in again.report.classes) / 2 == pytest.approx(again.report["mean_ccc"])


@pytest.mark.trains
def test_the_loss_of_concordance_learns_and_margins_come_with_the_model(
    scales: Path, tmp_path: Path, margin: Margin
) -> None:
    report = train(recipe(scales, "ccc", "mean_ccc"), tmp_path / "run")
    # 0.93 to 0.96 over 5 seeds, two vector units; the mae below 0.22 to 0.33.
    margin("mean_ccc, chance has 0", report.report["mean_ccc"], above=0.6)
    trained = load_pretrained(report.model)
    dev = StoreDataset(scales, "dev", trained.label_set, ("text",), labelled=True)
    said = predict_items(trained.model, dev, collator(trained.tokenizer, trained.settings))
    off = (trained.label_set.activate(said.logits.double()) - said.target).abs().sort(0).values
    assert trained.calibration.margins["text"] == pytest.approx(off[11].tolist()), "of 12 items the 12th: 0.9 * 13"
    assert report.report.margins == trained.calibration.margins["text"]
    again = evaluate(trained, scales, "dev").report
    assert [row["inside"] for row in again.classes] == [1.0, 1.0]
    assert again.majority["mean_ccc"] == 0.0
    margin("mae : majority baseline's", again["mean_mae"] / again.majority["mean_mae"], below=1.0)
    assert again.scores["mean_ccc"].interval is not None


def test_items_may_lack_values_of_some_scales(tmp_path: Path) -> None:
    store = make_store(tmp_path / "x", "valence,arousal", ("4.5,0.5", "1.5,", "2,0.9"), SCALES)
    report = train(recipe(store, "ccc", "mean_ccc"), tmp_path / "run").report
    assert [row["support"] for row in report.classes] == [12, 8]
    assert report.margins is not None
    assert report.margins[1] is None, "8 items are too few for a margin"
    assert "4 items have values of some scales only; each scale is scored on the items that have one" in report.notes


@pytest.mark.trains
def test_sentiment_is_scored_as_such(tmp_path: Path, margin: Margin) -> None:
    options = {"labels": ["sentiment"], "task": "dimensional", "ranges": [[-3, 3]]}
    store = make_store(tmp_path / "x", "sentiment", ("2.4", "-1.8", "-2.6"), options)
    report = train(recipe(store, "ccc", "sentiment_accuracy_2_nonzero"), tmp_path / "run").report
    # 1.0 on each of 5 seeds, two vector units.
    margin("accuracy", report["sentiment_accuracy_2_nonzero"], above=0.99)
    assert report.majority["sentiment_accuracy_2_nonzero"] == pytest.approx(2 / 3)


def test_a_store_on_another_scale_is_refused(scales: Path, tmp_path: Path) -> None:
    options = {**SCALES, "ranges": [[1, 7], [-1, 1]]}
    other = make_store(tmp_path / "x", "valence,arousal", VALUES, options)
    model = train(recipe(scales, "squared-error", "mean_ccc"), tmp_path / "run").model
    with pytest.raises(ConfigError, match="its valence goes from 1 to 7, not from 1 to 5"):
        evaluate(model, other, "dev")


def test_an_epoch_is_judged_at_the_thresholds_that_its_model_will_have() -> None:
    """The better order of the items wins, though all its probabilities are below one half."""
    label_set = LabelSet(("joy", "rage"), "multi-label")
    target = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    low = torch.tensor([[0.2, 0.1], [0.2, 0.1], [0.1, 0.2], [0.1, 0.2]]).logit()
    lucky = torch.tensor([[0.9, 0.1], [0.4, 0.1], [0.4, 0.9], [0.1, 0.9]]).logit()
    scores = [dev_scores(PredictionSet(tuple("abcd"), said, target), label_set, "mean_f1") for said in (low, lucky)]
    assert scores[0]["score"] == scores[0]["mean_f1"] == 1.0
    assert scores[1]["score"] < 1.0


@pytest.mark.trains
def test_several_labels_are_learned_and_evaluated(tmp_path: Path, margin: Margin) -> None:
    options = {"labels": ["joy", "calm", "sorrow", "rage"], "task": "multi-label"}
    store = make_store(tmp_path / "x", "label", LABELS, options)
    report = train(recipe(store, "bce", "mean_f1"), tmp_path / "run")
    again = evaluate(report.model, store, "dev")
    assert again.report["mean_f1"] == pytest.approx(report.report["mean_f1"], abs=1e-5)
    # 1.0 on each of 5 seeds, two vector units.
    margin("mean_f1", report.report["mean_f1"], above=0.8)


@pytest.mark.trains
def test_thresholds_are_fitted_on_dev_kept_and_used(tmp_path: Path, margin: Margin) -> None:
    options = {"labels": ["joy", "calm", "sorrow", "rage"], "task": "multi-label"}
    # One of three who say the same rages, so that it is best seen at a probability near 1/3.
    store = make_store(tmp_path / "x", "label", (*LABELS, *LABELS[:2], "calm", *LABELS[:2], "calm"), options)
    report = train(recipe(store, "bce", "mean_f1"), tmp_path / "run")
    trained = load_pretrained(report.model)
    dev = StoreDataset(store, "dev", trained.label_set, ("text",), labelled=True)
    said = predict_items(trained.model, dev, collator(trained.tokenizer, trained.settings))
    fitted = choose_thresholds(said.logits.double().sigmoid(), said.target).values
    # 0.05 to 0.4 over 18 seeds on all vector units.
    margin("thresholds that are not 0.5, else this shows nothing", max(abs(t - 0.5) for t in fitted), above=0.01)
    assert trained.calibration.thresholds == report.report.thresholds == fitted
    assert evaluate(trained, store, "dev", intervals=False).report.thresholds == fitted
    never = replace(trained, calibration=Calibration(thresholds=(1.0, *fitted[1:])))
    assert evaluate(never, store, "dev", intervals=False).report.classes[0]["predicted"] == 0

    save_pretrained(tmp_path / "bare", kind="fe2e", model=trained.model, label_set=trained.label_set,
                    card=trained.card, tokenizer=trained.tokenizer)  # fmt: skip
    config = {"name": "done", "title": "Done", "model": str(tmp_path / "bare"), "dev": [{"store": str(store)}],
              "trained_on": [str(store)], "intended_use": "tests", "limits": "all", "weights": "float32"}  # fmt: skip
    done = calibrate(CalibrateConfig.parse(config), tmp_path / "done")
    assert done.calibration == Calibration(thresholds=fitted)
    assert {score.name for score in done.card.scores} == {
        "mean_wacc", "mean_f1", "subset_accuracy", "mean_roc_auc", "mean_average_precision",
    }  # fmt: skip


@pytest.mark.trains
def test_a_part_may_lack_labels_that_the_model_knows(tmp_path: Path, margin: Margin) -> None:
    """Nobody in dev rages, and nobody at all is calm."""
    options = {"labels": ["joy", "calm", "sorrow", "rage"], "task": "multi-label"}
    rows = ["path,text,speaker,part,label"]
    said = (
        ("lovely happy day", "joy"),
        ("so sad i cry", "sorrow"),
        ("leave me alone", "rage"),
        ("sad and glad", "joy|sorrow"),
    )
    for i in range(48):
        words, label = said[i % 4]
        if i < 32 or label != "rage":
            rows.append(f',"{words} {i}",s{i},{"train" if i < 32 else "dev"},{label}')
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    prepare("folder", tmp_path, tmp_path / "store", PrepareConfig(options=options))
    report = train(recipe(tmp_path / "store", "bce", "mean_f1"), tmp_path / "run")
    gone = "no items of calm, rage: left out of means over classes"
    assert gone in report.report.notes
    again = evaluate(report.model, tmp_path / "store", "dev")
    assert gone in again.report.notes
    for metric in ("mean_wacc", "mean_f1", "subset_accuracy", "mean_roc_auc", "mean_average_precision"):
        assert again.report[metric] == pytest.approx(report.report[metric], abs=1e-5)
    assert again.report["mean_f1"] == pytest.approx(sum(again.report.classes[i]["f1"] for i in (0, 2)) / 2)
    # 1.0 on each of 5 seeds, two vector units.
    margin("mean_f1", again.report["mean_f1"], above=0.8)
    made = compare([again])
    assert gone in made.page
    assert f"- {gone}" in made.markdown
    console = Console(record=True, width=80)
    show_report(again.report, console)
    printed = console.export_text()
    assert "mean_roc_auc" in printed
    assert "…" not in printed, "everything fits"
    assert gone in printed


def test_sentiment_of_cmu_mosei_is_scored_with_the_accuracies_of_papers(
    tmp_path: Path, make_mosei: Callable[..., Path]
) -> None:
    source = make_mosei(tmp_path / "source", media=False)
    prepare("mosei", source, tmp_path / "store", PrepareConfig(options={"needs": ["text"]}))
    chosen = recipe(tmp_path / "store", "squared-error", "sentiment_accuracy_7", target="sentiment")
    report = train(chosen, tmp_path / "run").report
    accuracies = [f"sentiment_accuracy_{which}" for which in ("7", "5", "2_nonnegative", "2_nonzero")]
    assert set(accuracies) <= set(report.scores)
    said = evaluate(tmp_path / "run" / "model", tmp_path / "store", "dev", intervals=False, target="sentiment")
    values = -3 + 6 * said.predictions.logits.double().sigmoid().numpy()[:, 0]
    true = said.predictions.target.numpy()[:, 0]
    assert sorted(true.tolist()) == [-1.5, 0.0, 0.0]
    assert report["sentiment_accuracy_7"] == np.mean(values.clip(-3, 3).round() == true.round())
    assert report["sentiment_accuracy_2_nonnegative"] == np.mean((values < 0) == (true < 0))
    assert report["sentiment_accuracy_2_nonzero"] == np.mean((values > 0)[true != 0] == (true > 0)[true != 0])
    emotions = train(recipe(tmp_path / "store", "bce", "mean_wacc", target="emotions"), tmp_path / "emotions").report
    assert "no items of anger, disgust, happiness, surprise: left out of means over classes" in emotions.notes
    assert "mean_roc_auc" in emotions.scores


def test_items_without_a_label_are_counted(scales: Path, tmp_path: Path) -> None:
    done = evaluate(
        train(recipe(scales, "squared-error", "mean_ccc"), tmp_path / "run").model, scales, "train", allow_overlap=True
    )
    assert done.report.items == 24
    assert "1 item left out: has no label" in done.report.notes


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"training": {"loss": "bce"}}, "the loss 'bce' is not for dimensional targets. Use ccc or squared-error"),
        ({"score": "uar"}, "the score 'uar' is not for dimensional targets. Use one of mean_ccc"),
        ({"tokenizer": None}, "has a text branch, but the recipe has no tokenizer"),
        ({"network": {"dim": 8, "faces": None, "speech": None, "text": {**NETWORK, "vocabulary": 20}}},
         r"the text branch knows 20. Give"),
        ({"model": "mult", "network": {"faces": None, "speech": None, "text": {"vocabulary": 20}}},
         r"the text branch knows 20. Give"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused_at_once(
    scales: Path, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        train(recipe(scales, "squared-error", "mean_ccc", **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "last.pt").exists()


def test_a_device_that_is_not_there_is_an_error(scales: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown device 'nowhere': cpu, or cuda"):
        train(recipe(scales, "squared-error", "mean_ccc"), tmp_path / "run", device="nowhere")


def test_curves_are_drawn_where_asked_for(scales: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report = train(recipe(scales, "squared-error", "mean_ccc", tensorboard=True), tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("loss")) == report.epochs


def test_the_limits_of_what_a_training_started_from_go_on_to_apply(scales: Path) -> None:
    bound = ModelCard(
        name="a", title="A", licence="CC BY-NC 4.0", non_commercial=True, parameters=1, data=("faces: x",)
    )
    terms = licences_of([], [bound])
    assert terms.non_commercial
    assert terms.licence == "CC BY-NC 4.0"
    assert terms.data == ("faces: x",)
    assert licences_of([], encoders=["someone/encoder"]).non_commercial
