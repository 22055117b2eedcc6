"""The scores of each label of a report: classes, labels that an item may have several of, or scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from torch import Tensor

from maeum.errors import EvaluationError
from maeum.evaluation.base import Floats
from maeum.evaluation.calibration import reliability
from maeum.evaluation.dimensional import concordance, labelled, mean_absolute_error, pearson
from maeum.evaluation.metrics import class_table, confusion_matrix
from maeum.evaluation.multilabel import label_accuracy, label_f1, weighted_accuracy
from maeum.evaluation.ranking import label_average_precision, label_roc_auc
from maeum.labels import LabelSet


def label_details(
    label_set: LabelSet, outputs: Floats, decided: Floats, target: Tensor, margins: Sequence[float | None] | None
) -> dict[str, Any]:
    """The fields of a `Report` that this task has beside scores: a row for each label, confusion, reliability."""
    if label_set.task == "single-label":
        preds, true = outputs.argmax(1), target.cpu().numpy()
        table = class_table(preds, true, label_set.names)
        return {
            "classes": tuple(asdict(row) for row in table),
            "confusion": tuple(map(tuple, confusion_matrix(preds, true, len(label_set)).tolist())),
            "reliability": tuple(reliability(outputs, true)),
        }
    if label_set.task == "multi-label":
        true = target.cpu().double().numpy()
        answered = (decided > 0.5).astype(np.float64)
        counts = (x.sum(0).astype(int).tolist() for x in (true, answered))
        rows = zip(label_set.names, *counts, weighted_accuracy(answered, true), label_f1(answered, true),
                   label_accuracy(answered, true), label_roc_auc(outputs, true), label_average_precision(outputs, true),
                   strict=True)  # fmt: skip
        keys = ("name", "support", "predicted", "wacc", "f1", "accuracy", "roc_auc", "ap")
        return {"classes": tuple(dict(zip(keys, row, strict=True)) for row in rows)}
    true = target.cpu().double().numpy()
    columns = zip(label_set.names, labelled(outputs, true), margins or (None,) * len(label_set), strict=True)
    return {"classes": tuple(_scale_row(name, preds, wanted, margin) for name, (preds, wanted), margin in columns)}


def _scale_row(name: str, preds: Floats, true: Floats, margin: float | None) -> dict[str, Any]:
    """The row of one scale; None where a score is undefined. ``inside`` is the share of items within the margin."""
    row: dict[str, Any] = {"name": name, "support": len(true), "mean": float(true.mean()) if len(true) else None}
    for key, score in (("ccc", concordance), ("pearson", pearson), ("mae", mean_absolute_error)):
        row[key] = _score_or_none(score, preds, true)
    return row | {"inside": None if margin is None or not len(true) else float((np.abs(preds - true) <= margin).mean())}


def _score_or_none(score: Callable[..., float], *arguments: Any) -> float | None:
    try:
        return score(*arguments)
    except EvaluationError:
        return None
