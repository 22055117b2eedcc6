"""A report in the terminal."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import evaluate
from maeum.evaluation.thresholds import choose_thresholds
from maeum.labels import LabelSet
from maeum.reports.terminal import show_report

NAMES = ("joy", "rage", "calm")


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (
            LabelSet(NAMES),
            ("accuracy ↑", "ece ↓", "majority baseline", "chance", "predicted", "undefined"),
        ),
        (LabelSet(NAMES, "multi-label"), ("mean_f1 ↑", "thresholds, chosen on dev: joy 0.")),
        (LabelSet(NAMES, "dimensional", ((0, 1),) * 3), ("mean_ccc ↑", "mean_mae ↓")),
    ],
)
def test_a_report_of_each_task(labels: LabelSet, shown: tuple[str, ...]):
    generator = torch.Generator().manual_seed(0)
    sets = []
    for part in ("test", "dev"):
        logits = torch.randn(60, 3, generator=generator)
        logits[:, 2] -= 9 * (labels.task == "single-label")  # calm is never answered: it has no precision
        target = {"single-label": torch.arange(60) % 3, "multi-label": (logits > 0.3).float()}.get(labels.task)
        groups = tuple(f"speaker{i % 12}" for i in range(60))
        ids = tuple(f"{part}{i}" for i in range(60))
        sets.append(PredictionSet(ids, logits, labels.activate(logits + 1) if target is None else target, groups))
    out = io.StringIO()
    test, dev = sets
    fitted = choose_thresholds(dev.logits.sigmoid(), dev.target).values if labels.task == "multi-label" else None
    show_report(evaluate(test, labels, name="run", thresholds=fitted), Console(file=out, width=140))
    for words in ("run  60 items of 12 speakers", " to ", *shown):
        assert words in out.getvalue(), out.getvalue()


def test_few_speakers_are_said_once():
    logits = torch.eye(3).repeat(8, 1)
    said = PredictionSet(tuple(map(str, range(24))), logits, torch.arange(24) % 3, tuple("ab" * 12))
    out = io.StringIO()
    show_report(evaluate(said, LabelSet(NAMES)), Console(file=out, width=140))
    assert out.getvalue().count("2 speakers only, where at least 3 are needed") == 1
    assert out.getvalue().count("interval") == 2, "in the head of the column, and in the warning"


def test_labels_above_a_confusion_matrix_are_whole_or_visibly_cut():
    labels = LabelSet(("happiness", "hopelessness-and-more", "calm"))
    said = PredictionSet(tuple(map(str, range(12))), torch.eye(3)[torch.arange(12) % 3], torch.arange(12) % 3)
    out = io.StringIO()
    show_report(evaluate(said, labels), Console(file=out, width=100))
    head = next(line for line in out.getvalue().split("rows: true")[1].splitlines() if "happi" in line)
    assert head.split() == ["happiness", "hopel…-more", "calm"]
