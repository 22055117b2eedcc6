"""The report of a run, and how sure its scores are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from maeum.errors import EvaluationError
from maeum.evaluation.calibration import expected_calibration_error
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import evaluate
from maeum.evaluation.thresholds import choose_thresholds
from maeum.labels import EKMAN, EMOTIONS, LabelSet

MULTI = LabelSet(EMOTIONS, "multi-label")
SCALES = LabelSet(("valence", "arousal"), "dimensional", ((1.0, 5.0), (1.0, 5.0)))


def predictions(part: str, labels: LabelSet = EKMAN, items: int = 140, seed: int = 0) -> PredictionSet:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(items, len(labels), generator=generator) * 3
    if labels.task == "single-label":
        target = torch.arange(items) % len(labels)
        logits[torch.arange(items), target] += 2
    elif labels.task == "multi-label":
        target = (torch.rand(items, len(labels), generator=generator) < 0.3).float()
        logits += target * 3
    else:
        target = labels.activate(logits + torch.randn(logits.shape, generator=generator))
    groups = tuple(f"speaker{i % 12}" for i in range(items))
    return PredictionSet(tuple(f"{part}{i}" for i in range(items)), logits, target, groups)


def test_single_label_report():
    report = evaluate(predictions("test"), EKMAN, name="run")
    single = {"accuracy", "uar", "macro_f1", "weighted_f1", "mean_one_vs_rest_accuracy", "ece", "brier", "aurc"}
    assert set(report.scores) == single
    for score in report.scores.values():
        assert score.interval is not None
        assert score.interval.low <= score.value <= score.interval.high
        assert score.interval.groups == 12
    assert report.majority["accuracy"] == pytest.approx(1 / 7)
    logits = predictions("test").logits.double()
    assert report["ece"] == pytest.approx(expected_calibration_error(logits.softmax(-1), predictions("test").target))
    assert np.sum(report.confusion) == report.items == 140
    data = json.loads(report.to_json())
    assert data["scores"]["uar"]["value"] == report["uar"]
    assert [row["name"] for row in data["classes"]] == list(EMOTIONS)


def test_intervals_can_be_left_out():
    report = evaluate(predictions("test"), EKMAN, intervals=False)
    assert all(score.interval is None for score in report.scores.values())


def test_multi_label_and_dimensional_reports():
    dev = predictions("dev", MULTI, seed=1)
    fitted = choose_thresholds(dev.logits.double().sigmoid(), dev.target)
    report = evaluate(predictions("test", MULTI), MULTI, thresholds=fitted.values)
    decided, ranked = {"mean_wacc", "mean_f1", "subset_accuracy"}, {"mean_roc_auc", "mean_average_precision"}
    assert set(report.scores) == decided | ranked
    assert report.thresholds is not None
    assert len(report.thresholds) == 7
    assert {"wacc", "f1", "accuracy", "support", "roc_auc", "ap"} <= set(report.classes[0])
    test = predictions("test", MULTI)
    target, other = test.target.numpy(), evaluate(test, MULTI, thresholds=[0.95] * 7)
    assert report["mean_roc_auc"] == pytest.approx(sk.roc_auc_score(target, test.logits.numpy()))
    assert report["mean_average_precision"] == pytest.approx(sk.average_precision_score(target, test.logits.numpy()))
    assert all(other.scores[name] == report.scores[name] for name in ranked), (
        "thresholds do not matter, nor to intervals"
    )
    assert other["mean_f1"] != report["mean_f1"]
    assert report.majority["mean_roc_auc"] == pytest.approx(0.5)
    assert report.majority["mean_average_precision"] == pytest.approx(target.mean())
    assert report.chance["mean_roc_auc"] == pytest.approx(0.5, abs=0.02)
    report = evaluate(predictions("test", SCALES), SCALES)
    assert set(report.scores) == {"mean_ccc", "mean_pearson", "mean_mae"}
    assert report["mean_ccc"] > 0.7


def test_metric_of_another_task_is_refused():
    with pytest.raises(EvaluationError, match="mean_ccc is for dimensional targets"):
        evaluate(predictions("test"), EKMAN, metrics=["mean_ccc"])


def test_an_absent_class_is_an_error_with_a_remedy():
    test = predictions("test")
    keep = test.target != 2
    few = PredictionSet(tuple(np.array(test.ids)[keep.numpy()]), test.logits[keep], test.target[keep])
    with pytest.raises(EvaluationError, match="no item is fear, so a mean over all"):
        evaluate(few, EKMAN)
    report = evaluate(few, EKMAN, absent="exclude")
    assert "no items of fear: left out of means over classes" in report.notes
    recalls = [row["recall"] for row in report.classes if row["recall"] is not None]
    assert report["uar"] == pytest.approx(sum(recalls) / 6)


def test_labels_that_no_item_or_every_item_has_are_left_out_and_named():
    test = predictions("test", MULTI)
    target = test.target.clone()
    target[:, 0], target[:, 3] = 0, 1
    report = evaluate(replace(test, target=target), MULTI, absent="exclude")
    assert "no items of anger: left out of means over classes" in report.notes
    assert "every item has happiness: left out of means that need items without" in report.notes
    kept = [1, 2, 4, 5, 6]
    said = test.logits.numpy() > 0
    f1 = sk.f1_score(target, said, average=None)
    assert report["mean_f1"] == pytest.approx(f1[[3, *kept]].mean())
    assert report["mean_wacc"] == pytest.approx(
        np.mean([sk.balanced_accuracy_score(target[:, i], said[:, i]) for i in kept])
    )
    assert report["mean_roc_auc"] == pytest.approx(sk.roc_auc_score(target[:, kept], test.logits.numpy()[:, kept]))
    assert [report.classes[0][key] for key in ("wacc", "roc_auc", "ap")] == [None] * 3


def test_a_score_that_is_undefined_altogether_is_left_out_and_named():
    test = predictions("test", MULTI)
    nothing = replace(test, target=torch.zeros_like(test.target))
    report = evaluate(nothing, MULTI, absent="exclude")
    assert set(report.scores) == {"subset_accuracy"}
    for name, why in {"mean_f1": "never on", "mean_wacc": "never or always on", "mean_roc_auc": "never or always on",
                      "mean_average_precision": "never on"}.items():  # fmt: skip
        assert f"{name} is left out: all labels are {why}, so there is no mean" in report.notes
    with pytest.raises(EvaluationError, match="all labels are never on"):
        evaluate(nothing, MULTI, metrics=["mean_f1"], absent="exclude")
    with pytest.raises(EvaluationError, match="are never on, so"):
        evaluate(nothing, MULTI, metrics=["subset_accuracy", "mean_f1"])


def test_prediction_sets_are_checked():
    good = predictions("test")
    with pytest.raises(EvaluationError, match="2 ids, 140 predictions"):
        PredictionSet(("a", "b"), good.logits, good.target)
    with pytest.raises(EvaluationError, match="test0: an utterance was predicted twice"):
        PredictionSet(("test0", *good.ids[:-1]), good.logits, good.target)


def test_interval_of_the_calibration_error_reaches_down_to_the_truth():
    """A calibrated classifier, whose error is 0 but for chance; percentiles of resamples would never hold that."""
    holds = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        logits = 1.5 * rng.normal(size=(240, 5))
        probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        target = (probs.cumsum(1) > rng.random((240, 1))).argmax(1)
        said = PredictionSet(tuple(map(str, range(240))), torch.from_numpy(logits), torch.from_numpy(target))
        score = evaluate(said, LabelSet(("a", "b", "c", "d", "e")), metrics=["ece"], seed=seed).scores["ece"]
        assert score.interval is not None
        assert 0 <= score.interval.low <= score.value <= score.interval.high
        holds += score.interval.low < 0.002
    assert 16 <= holds <= 36, "by simulation it holds in 54 % of the cases"


def test_one_note_says_that_there_are_too_few_speakers():
    test = predictions("test")
    for speakers, words in (("a", "1 speaker only"), ("ab", "2 speakers only")):
        groups = tuple(speakers[i % len(speakers)] for i in range(len(test)))
        report = evaluate(replace(test, groups=groups), EKMAN)
        assert all(score.interval is None for score in report.scores.values())
        assert report.speakers_warning == f"no intervals: {words}, where at least 3 are needed"
        assert report.notes == ()
    few = evaluate(replace(test, groups=tuple("abc"[i % 3] for i in range(len(test)))), EKMAN)
    assert all(score.interval is not None for score in few.scores.values())
    assert few.speakers_warning.startswith("3 speakers only: intervals are wide")
    assert evaluate(test, EKMAN).speakers_warning == "", "12 are not few"
    assert evaluate(replace(test, groups=None), EKMAN).speakers_warning == ""


def test_a_mean_that_rests_on_one_item_has_no_interval():
    """The others cannot say how such items differ; one note names the item and all scores that it is about."""
    rng = np.random.default_rng(0)
    target = np.zeros((200, 2))
    target[:, 0] = rng.random(200) < 0.5
    target[7, 1] = 1
    scores = rng.normal(size=(200, 2)) + target * [1.0, 5.0]
    said = PredictionSet(tuple(map(str, range(200))), torch.tensor(scores), torch.tensor(target))
    asked = ["mean_roc_auc", "mean_average_precision", "subset_accuracy"]
    report = evaluate(said, LabelSet(("a", "b"), "multi-label"), metrics=asked)
    assert [report.scores[name].interval is None for name in asked] == [True, True, False]
    notes = [note for note in report.notes if note.startswith("no interval")]
    assert len(notes) == 2
    assert all("it rests on item 7 alone, without which" in note for note in notes)


def test_classes_are_ranked_where_it_is_asked_for():
    logits = torch.tensor([[2.0, 0, 1], [0, 2, 1], [1, 0, 2], [0, 2, 1]])
    said = PredictionSet(tuple("abcd"), logits, torch.tensor([0, 1, 2, 2]))
    report = evaluate(said, LabelSet(("a", "b", "c")), metrics=["mean_roc_auc"], intervals=False)
    probs = logits.softmax(1).numpy()
    expected = sk.roc_auc_score([0, 1, 2, 2], probs, multi_class="ovr", average="macro")
    assert report["mean_roc_auc"] == pytest.approx(expected, abs=1e-9)
    assert report.majority["mean_roc_auc"] == 0.5


def test_items_without_a_speaker_are_groups_of_their_own_and_counted():
    groups = ("x", "x", "y", "y", None, None, None, None)
    said = PredictionSet(tuple("abcdefgh"), torch.randn(8, 2), torch.arange(8) % 2, groups)
    report = evaluate(said, LabelSet(("a", "b")))
    interval = report.scores["accuracy"].interval
    assert interval is not None
    assert (report.groups, report.ungrouped, interval.groups) == (2, 4, 6)
    assert report.interval_over == "speakers and 4 items without one"


def test_a_speaker_on_whom_a_class_rests_is_named_with_the_class():
    logits, target = torch.eye(7)[torch.arange(42) % 7], torch.arange(42) % 7
    groups = tuple("ann" if i % 7 == 0 else f"s{i % 5}" for i in range(42))
    report = evaluate(PredictionSet(tuple(map(str, range(42))), logits, target, groups), EKMAN)
    assert any("rests on speaker ann alone, without which no item is anger, so" in note for note in report.notes)
