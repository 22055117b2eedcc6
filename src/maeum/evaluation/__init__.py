"""Scores and calibration: pure functions of predictions. Importing it registers the metrics of this folder."""

from __future__ import annotations

from maeum.evaluation.base import METRICS, Metric, metrics_of
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import Report, evaluate
from maeum.evaluation.thresholds import Thresholds, choose_thresholds
from maeum.registry import import_siblings

__all__ = [
    "METRICS",
    "Metric",
    "PredictionSet",
    "Report",
    "Thresholds",
    "choose_thresholds",
    "evaluate",
    "metrics_of",
]

import_siblings(__name__, __path__)
