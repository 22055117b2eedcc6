"""Defects of the published code's scoring that must not come back, one test each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maeum.data.collate import Collator
from maeum.data.dataset import StoreDataset
from maeum.errors import EvaluationError
from maeum.evaluation import METRICS, PredictionSet, evaluate
from maeum.evaluation.metrics import accuracy, uar
from maeum.experiments.prepare import prepare
from maeum.labels import EKMAN, EMOTIONS, LabelSet

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
    with pytest.raises(EvaluationError, match="1 utterances have no prediction"):
        PredictionSet(("sound.wav",), torch.zeros(1, 7), torch.zeros(1, dtype=torch.int64), expected=clips.ids)


def multi(part: str, seed: int) -> PredictionSet:
    generator = torch.Generator().manual_seed(seed)
    target = (torch.rand(80, 7, generator=generator) < 0.3).float()
    logits = target + torch.randn(80, 7, generator=generator) - 2.0
    return PredictionSet(tuple(f"{part}{i}" for i in range(80)), logits, target)


def test_mesm_12_thresholds_cannot_be_tuned_on_test():
    """Published: thresholds were chosen on the items that were scored."""
    test, dev = multi("test", 0), multi("dev", 1)
    with pytest.raises(EvaluationError, match=r"80 utterances are in dev and in test.*on dev only"):
        evaluate(test, MULTI, test, resamples=0)
    fitted = evaluate(test, MULTI, dev, resamples=0)
    # Other test targets change the scores, never the thresholds.
    other = PredictionSet(test.ids, test.logits, 1 - test.target)
    assert evaluate(other, MULTI, dev, resamples=0).thresholds == fitted.thresholds
    assert evaluate(test, MULTI, resamples=0).thresholds is None


def test_mesm_13_f1_is_called_f1():
    """Published: a column labelled AUC held F1."""
    dev, test = multi("dev", 1), multi("test", 0)
    report = evaluate(test, MULTI, dev, resamples=0)
    assert not any("auc" in name.lower() for name in (*report.scores, *report.classes[0]))
    said = (torch.sigmoid(test.logits.double()) > torch.tensor(report.thresholds)).double()
    tp, both = (said * test.target).sum(0), said.sum(0) + test.target.sum(0)
    assert [row["f1"] for row in report.classes] == pytest.approx((2 * tp / both).tolist())


def test_mesm_14_multi_label_is_not_scored_with_single_label_metrics():
    """Published: MOSEI (multi-label) was scored with IEMOCAP's metrics."""
    with pytest.raises(EvaluationError, match="accuracy is for single-label targets, not multi-label"):
        evaluate(multi("test", 0), MULTI, metrics=["accuracy"])
    single = PredictionSet(("a",), torch.zeros(1, 7), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(EvaluationError, match="mean_wacc is for multi-label targets, not single-label"):
        evaluate(single, EKMAN, metrics=["mean_wacc"])


def test_mmer_04_accuracy_and_uar_are_not_swapped():
    """Published: the names of accuracy (share of all items) and of mean class recall were swapped."""
    target = [0] * 8 + [1] * 2
    preds = [0] * 10
    assert accuracy(preds, target) == pytest.approx(0.8)
    assert uar(preds, target, 2) == pytest.approx(0.5)
    outputs = np.eye(2)[preds]
    assert METRICS["accuracy"].function(outputs, np.asarray(target), "error") == pytest.approx(0.8)
    assert METRICS["uar"].function(outputs, np.asarray(target), "error") == pytest.approx(0.5)


def test_mmer_05_dev_and_test_share_no_utterance():
    """Published: the best epoch was chosen on the test session; what is fitted never sees what is scored."""
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(70, 7, generator=generator), torch.arange(70) % 7
    test = PredictionSet(tuple(f"t{i}" for i in range(70)), logits, target)
    dev = PredictionSet((*(f"d{i}" for i in range(69)), "t5"), logits, target)
    with pytest.raises(EvaluationError, match="t5: 1 utterances are in dev and in test"):
        evaluate(test, EKMAN, dev)
