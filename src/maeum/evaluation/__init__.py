"""Scores and calibration: pure functions of predictions."""

from __future__ import annotations

from maeum.evaluation import calibration, dimensional, metrics, multilabel, ranking, selective, sentiment
from maeum.evaluation.base import METRICS, Metric, metrics_of
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import Report, evaluate
from maeum.evaluation.thresholds import Thresholds, choose_thresholds

__all__ = [
    "METRICS",
    "Metric",
    "PredictionSet",
    "Report",
    "Thresholds",
    "calibration",
    "choose_thresholds",
    "dimensional",
    "evaluate",
    "metrics",
    "metrics_of",
    "multilabel",
    "ranking",
    "selective",
    "sentiment",
]
