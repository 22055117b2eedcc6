"""The report that compares models."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maeum.errors import ConfigError
from maeum.evaluation.predictions import PredictionSet, Provenance
from maeum.evaluation.report import evaluate
from maeum.labels import LabelSet, Task
from maeum.reports.report import compare
from maeum.runs.evaluate import Evaluation

NAMES = ("joy", "rage", "calm")


def evaluation(tmp_path: Path, task: Task = "single-label", model: str = "a", overlap: str | None = ""):
    generator = torch.Generator().manual_seed(len(model))
    labels = LabelSet(NAMES, task, ((0, 1),) * 3 if task == "dimensional" else None)
    logits = torch.randn(48, 3, generator=generator)
    target = {
        "single-label": torch.arange(48) % 3,
        "multi-label": (logits + torch.randn(48, 3, generator=generator) > 0).float(),
        "dimensional": labels.activate(logits + 0.5) if task == "dimensional" else logits,
    }[task]
    ids = tuple(f"item{i}" for i in range(48))
    said = PredictionSet(
        ids, logits, target, tuple(f"s{i % 6}" for i in range(48)), features=torch.randn(48, 5, generator=generator)
    )
    (tmp_path / "clip.wav").write_bytes(b"sound")
    rows = tuple(
        {"id": id, "speaker": "s|1", "text": "<b>loud & clear</b> " + "x" * 200, "start_s": 1.0, "end_s": 2.5,
         "media": str(tmp_path / "clip.wav") if i % 2 else "/gone.wav"}
        for i, id in enumerate(ids)
    )  # fmt: skip
    about = Provenance(model, "w1", "corpus", "dev", "by speaker", "d1", "CC BY-NC 4.0", seeds=(7,),
                       settings={"lr": 0.1}, versions={"maeum": "0"})  # fmt: skip
    report = evaluate(said, labels, name=f"{model} on corpus", provenance=about)
    return Evaluation(model, "corpus", "dev", ("text",), replace(report, overlap=overlap), said, rows)


@pytest.mark.parametrize("task", ["single-label", "multi-label", "dimensional"])
def test_every_score_of_every_model_is_there(tmp_path: Path, task: Task):
    runs = [evaluation(tmp_path, task), evaluation(tmp_path, task, "b/c")]
    made = compare(runs, "A title & more")
    files = made.files()
    assert set(files) == {"report.html", "report.md", "scores.json", "answers-a.csv", "answers-b-c.csv"}
    records = json.loads(made.records)
    assert len(records) == 2 * len(runs[0].report.scores)
    for run in runs:
        for score in run.report.scores.values():
            assert f"{score.value:.3f}" in made.page
            assert f"{score.value:.3f}" in made.markdown
    assert "A title &amp; more" in made.page
    assert "CC BY-NC 4.0" in made.page
    assert "&lt;b&gt;loud" in made.page
    assert "<b>loud" not in made.page
    assert "clip.wav#t=1.00,2.50" in made.page
    assert "file:///gone.wav" not in made.page
    rows = list(csv.reader(io.StringIO(files["answers-a.csv"])))
    assert rows[0] == ["id", "speaker", "true", *NAMES]
    assert len(rows) == 49
    assert compare(runs, "A title & more") == made, "equal results give equal files"


def test_figures_of_single_label_models(tmp_path: Path):
    page = compare([evaluation(tmp_path)]).page
    assert page.count("<svg") == 4
    assert "Silhouette" in page
    assert "<script" not in page
    plain = evaluation(tmp_path)
    page = compare([replace(plain, predictions=replace(plain.predictions, features=None))]).page
    assert page.count("<svg") == 3


def test_an_allowed_overlap_stands_above_all_scores(tmp_path: Path):
    made = compare([evaluation(tmp_path, overlap="overlap allowed: 20 speakers are in train and dev")])
    for text in (made.page, made.markdown, made.records):
        assert "overlap allowed: 20 speakers" in text
    assert made.page.index("overlap allowed") < made.page.index("Side by side")


def test_what_overlaps_is_said_of_those_that_it_holds_for(tmp_path: Path):
    overlaps = {"a": "overlap allowed: 2 speakers", "b": "", "c": None, "d": "overlap allowed: 2 speakers"}
    made = compare([evaluation(tmp_path, model=name, overlap=overlap) for name, overlap in overlaps.items()])
    assert "**a, d: overlap allowed: 2 speakers**" in made.markdown
    assert "**c: overlap not known: the model does not record which items it was trained on**" in made.markdown
    assert "\n**6 speakers only: intervals are wide" in made.markdown, "of all, so without their names"
    assert made.markdown.count("**") == 6
    assert re.findall(r"\| ([\w ]+) \| 48 \| 6 \|", made.markdown) == [
        "allowed",
        "none found",
        "not known",
        "allowed",
    ]


def test_runs_on_other_items_each_have_their_own_majority(tmp_path: Path):
    one, other = evaluation(tmp_path), evaluation(tmp_path, model="b")
    said = PredictionSet(tuple(f"x{i}" for i in range(48)), other.predictions.logits, torch.arange(48) % 4 // 2)
    other = replace(other, predictions=said, report=evaluate(said, LabelSet(NAMES), intervals=False, absent="exclude"))
    made = compare([one, other])
    assert "**The models were scored on different items" in made.markdown
    assert "were scored on different items" not in compare([one, one]).markdown
    same = [line.split(" | ") for line in made.markdown.splitlines() if line.startswith("| majority baseline")]
    column = made.markdown.split("| model | ")[1].split(" | ").index("accuracy ↑") + 1
    assert [row[column] for row in same] == ["0.333", "0.500"]
    assert made.page.count(">majority baseline</td>") == 2


def test_models_that_answer_other_questions_are_not_compared(tmp_path: Path):
    one = evaluation(tmp_path)
    with pytest.raises(ConfigError, match="other questions"):
        compare([one, evaluation(tmp_path, "multi-label", "b")])
    with pytest.raises(ConfigError, match="nothing to report"):
        compare([])


def test_two_models_of_one_name_are_told_apart(tmp_path: Path):
    made = compare([evaluation(tmp_path), evaluation(tmp_path)])
    assert set(made.answers) == {"a-1", "a-2"}


def test_values_that_are_missing_are_left_out(tmp_path: Path):
    whole = evaluation(tmp_path, "dimensional")
    target = whole.predictions.target.clone()
    target[::2, 0] = torch.nan
    said = replace(whole.predictions, target=target)
    labels = LabelSet(NAMES, "dimensional", ((0, 1),) * 3)
    made = compare([replace(whole, predictions=said, report=evaluate(said, labels))])
    assert made.page.count("<svg") == 3
    assert not re.search(r"\bnan\b", "".join(made.files().values()), re.IGNORECASE)
    true = [row["true"] for row in csv.DictReader(io.StringIO(made.answers["a"]))]
    assert ["joy" in words for words in true[:4]] == [False, True, False, True]


def test_one_is_counted_as_one_and_no_cell_runs(tmp_path: Path):
    plain = evaluation(tmp_path)
    rows = ({**plain.rows[0], "id": "=1+1", "speaker": "@x"}, *plain.rows[1:])
    made = compare([replace(plain, rows=rows, report=replace(plain.report, items=1, groups=1))])
    assert "· 1 item of 1 speaker ·" in made.page
    assert list(csv.reader(io.StringIO(made.answers["a"])))[1][:2] == ["'=1+1", "'@x"]


def test_a_page_without_intervals_says_nothing_about_them(tmp_path: Path) -> None:
    with_them = evaluation(tmp_path)
    without = replace(
        with_them, report=evaluate(with_them.predictions, LabelSet(NAMES), name="a on corpus", intervals=False)
    )
    assert "Intervals are 95 % confidence intervals over speakers" in compare([with_them, without]).markdown
    assert "Intervals are" not in compare([without]).page
