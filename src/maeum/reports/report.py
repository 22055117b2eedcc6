"""A report that compares trained models, or ways to split a corpus: a page, Markdown, JSON and every answer."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from maeum import __version__
from maeum.errors import ConfigError, EvaluationError
from maeum.evaluation.base import METRICS, Floats
from maeum.evaluation.dimensional import labelled
from maeum.evaluation.features import class_distances, project, silhouette
from maeum.evaluation.report import Report
from maeum.evaluation.selective import risk_coverage
from maeum.labels import LabelSet
from maeum.reports import figures
from maeum.reports.passport import passports
from maeum.reports.tables import MAJORITY, ModelTable, format_number, markdown_table, metric_arrow
from maeum.reports.terminal import cell
from maeum.runs.evaluate import Evaluation, check_same_labels
from maeum.visible import csv_cell, visible
from maeum.wording import counted

_MEANING = "Scores say how often a model agrees with the labels of this corpus, not what people feel."
_INTERVALS = (
    "Intervals are 95 % confidence intervals over {over}: they say what other {over} of the same kind would change. "
)
_ABOUT = (
    "Majority baseline: the most frequent answer for every item. Chance: the model's own answers dealt out at random."
)
_WORST = 20
#: Items that a projection shows and a silhouette is taken of; more are drawn from at random.
_MOST_POINTS = 3000
_LONGEST_TEXT = 120
_OTHER_ITEMS = (
    "The models were scored on different items, so a difference between them may be one between the items. To compare "
    "them, score models that read the same modalities on one part under one split (--split)."
)
#: `Report.overlap` where it says nothing.
_NO_OVERLAP = {
    "": "none found",
    None: "not known: the model does not record which items it was trained on",
}


@dataclass(frozen=True)
class ComparisonPage:
    """The files of a report. page: HTML without scripts, figures included. answers: a CSV for each model."""

    page: str
    markdown: str
    records: str
    answers: dict[str, str]

    def files(self) -> dict[str, str]:
        """File name -> content."""
        fixed = {"report.html": self.page, "report.md": self.markdown, "scores.json": self.records}
        return fixed | {f"answers-{_plain(name)}.csv": text for name, text in self.answers.items()}


def compare(evaluations: Sequence[Evaluation], title: str = "") -> ComparisonPage:
    """One report of several evaluations.

    Where they are of different items, such as folds, the page says so, and each has beside it the majority baseline of
    its own items.

    Args:
        evaluations: made with ``features=True`` where a projection is wanted; those with equal names are numbered.
        title: of the page; the corpus and its part when empty.

    Raises:
        ConfigError: when there are none, or they have different labels.
    """
    if not evaluations:
        raise ConfigError("there is nothing to report", remedy="Give at least one model.")
    first = evaluations[0]
    check_same_labels([(e.model, LabelSet.from_dict(e.report.label_set)) for e in evaluations], first.corpus)
    names = _names([e.model for e in evaluations])
    runs = [_run(name, e) for name, e in zip(names, evaluations, strict=True)]
    columns = [c for c in first.report.scores if all(c in e.report.scores for e in evaluations)]
    same_items = all(set(e.predictions.ids) == set(first.predictions.ids) for e in evaluations)
    shown: dict[str, Any] = {
        "version": __version__,
        "title": title or f"{first.corpus} {first.part}",
        "about": _about_intervals([e.report for e in evaluations]) + _ABOUT,
        "meaning": _MEANING,
        "warnings": [
            *([] if same_items else [_OTHER_ITEMS]),
            *_warnings({name: e.report for name, e in zip(names, evaluations, strict=True)}),
        ],
        "table": _side_by_side(runs, columns, same_items),
        "runs": runs,
    }
    environment = Environment(loader=PackageLoader("maeum.reports"), autoescape=select_autoescape(["html.j2"]))
    environment.filters["counted"] = counted
    return ComparisonPage(
        page=visible(environment.get_template("scores.html.j2").render(shown)),
        markdown=_markdown(shown),
        records=json.dumps([p for e in evaluations for p in passports(e.report)], indent=1, allow_nan=False) + "\n",
        answers={name: _answers(e) for name, e in zip(names, evaluations, strict=True)},
    )


def _plain(name: str) -> str:
    """A model's name, which may be a path, as part of a file's name."""
    return "-".join(filter(None, re.split(r"[^\w.]+", name)))


def _names(models: Sequence[str]) -> list[str]:
    """Names of models, told apart by a number where two have the same."""
    return [m if models.count(m) == 1 else f"{m}-{models[: i + 1].count(m)}" for i, m in enumerate(models)]


def _warnings(reports: dict[str, Report]) -> list[str]:
    """Each warning once, with the names of the models that it is about unless that is all of them."""
    holds: dict[str, list[str]] = {}
    for name, report in reports.items():
        if report.overlap != "":
            holds.setdefault(_overlap(report), []).append(name)
        if report.speakers_warning:
            holds.setdefault(report.speakers_warning, []).append(name)
    return [text if len(names) == len(reports) else f"{', '.join(names)}: {text}" for text, names in holds.items()]


def _about_intervals(reports: Sequence[Report]) -> str:
    """What the intervals are over; empty where there are none."""
    over = [r.interval_over for r in reports if any(score.interval is not None for score in r.scores.values())]
    return _INTERVALS.format(over=" or ".join(dict.fromkeys(over))) if over else ""


def _overlap(report: Report) -> str:
    return report.overlap or f"overlap {_NO_OVERLAP[report.overlap]}"


def _side_by_side(runs: Sequence[dict[str, Any]], columns: Sequence[str], same_items: bool) -> ModelTable:
    """The table of all runs."""
    table = ModelTable(columns, before=("model", "overlap", "items", "speakers"))
    for number, run in enumerate(runs, start=1):
        report: Report = run["report"]
        overlap = "allowed" if report.overlap else _NO_OVERLAP[report.overlap].split(":")[0]
        table.add((run["name"], overlap, report.items, report.groups or ""), report.scores)
        if not same_items or number == len(runs):
            table.add_majority(report.majority)
    return table


def _run(name: str, evaluation: Evaluation) -> dict[str, Any]:
    """What the page shows of one model."""
    report = evaluation.report
    label_set = LabelSet.from_dict(report.label_set)
    rows = [
        {
            "name": f"{score} {metric_arrow(score)}",
            "value": format_number(value.value),
            "interval": "" if value.interval is None else value.interval.format(),
            "majority": format_number(report.majority.get(score)),
            "chance": format_number(report.chance.get(score)),
            "definition": METRICS[score].definition,
        }
        for score, value in report.scores.items()
    ]
    columns = list(report.classes[0]) if report.classes else []
    return {
        "name": name,
        "report": report,
        "names": label_set.names,
        "dimensional": label_set.task == "dimensional",
        "scores": rows,
        "class_columns": columns,
        "classes": [[cell(row[c]) for c in columns] for row in report.classes],
        "passport": _passport(report),
        "settings": _settings(report),
        **_looks(evaluation, label_set),
    }


def _looks(evaluation: Evaluation, label_set: LabelSet) -> dict[str, Any]:
    """Figures, distances and worst errors, as far as the task has them."""
    predictions = evaluation.predictions
    outputs = label_set.activate(predictions.logits.double()).numpy()
    target = predictions.target.numpy()
    if label_set.task == "dimensional":
        drawn = [
            {"svg": figures.agreement(predicted, true, name), "caption": f"{name}, one point an item"}
            for name, (predicted, true) in zip(label_set.names, labelled(outputs, target), strict=True)
        ]
        off = np.nanmean(np.abs(outputs - target), 1)
        return {"figures": drawn, **_worst(evaluation, label_set, outputs, off, "mean distance",
                "The items whose values are furthest off.")}  # fmt: skip
    if label_set.task == "multi-label":
        off = -np.log(np.clip(np.where(target > 0.5, outputs, 1 - outputs), 1e-12, 1)).mean(1)
        return {"figures": [], **_worst(evaluation, label_set, outputs, off, "mean surprise",
                "The items whose labels were least expected: mean of -log(probability).")}  # fmt: skip
    assert evaluation.report.confusion is not None
    drawn = [
        {"svg": figures.confusion(evaluation.report.confusion, label_set.names),
         "caption": "Confusion: counts; the shade is the share of the true class."},
        {"svg": figures.reliability(evaluation.report.reliability),
         "caption": "Reliability: on the dashed line, confidence is what it says. Larger points hold more items."},
        {"svg": figures.risk_coverage(risk_coverage(outputs, target)),
         "caption": "Risk and coverage: how often answers are wrong when only the surest are given."},
    ]  # fmt: skip
    looks: dict[str, Any] = {}
    if predictions.features is not None:
        drawn_features, looks = _feature_looks(predictions.features.double().numpy(), target, label_set)
        drawn += drawn_features
    wrong = np.where(outputs.argmax(1) != target, outputs.max(1), -1.0)
    return {"figures": drawn, **looks, **_worst(evaluation, label_set, outputs, wrong, "confidence",
            "Wrong answers that the model was surest of.")}  # fmt: skip


def _feature_looks(
    features: Floats, target: np.ndarray[Any, Any], label_set: LabelSet
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The projection as a figure, and distances of classes; nothing where they are undefined."""
    if len(features) > _MOST_POINTS:
        sample = np.sort(np.random.default_rng(0).choice(len(features), _MOST_POINTS, replace=False))
        features, target = features[sample], target[sample]
    try:
        projected = project(features)
        distances = class_distances(features, target, len(label_set))
        apart = silhouette(features, target, len(label_set))
    except EvaluationError:
        return [], {}
    caption = f"Features of {counted(len(features), 'item')} in the plane of their largest variance."
    drawn = [{"svg": figures.projection(projected, target, label_set.names), "caption": caption}]
    rows = [[name, *(format_number(d) for d in row)] for name, row in zip(label_set.names, distances, strict=True)]
    return drawn, {"distances": rows, "silhouette": format_number(apart)}


def _worst(
    evaluation: Evaluation, label_set: LabelSet, outputs: Floats, size: Floats, what: str, about: str
) -> dict[str, Any]:
    """Items by the size of their error, the largest first; those below 0 are no errors."""
    errors = []
    for i in np.argsort(-size, kind="stable")[:_WORST].tolist():
        if size[i] < 0:
            break
        row = evaluation.rows[i]
        media = row.get("media")
        exists = media is not None and Path(media).is_file()
        errors.append({
            "id": row["id"],
            "true": _format_target(label_set, evaluation.predictions.target[i].double().numpy()),
            "predicted": _format_target(label_set, _decided(label_set, outputs[i], evaluation.report)),
            "size": f"{size[i]:.2f}",
            "media": "" if media is None else Path(media).name + _format_stretch(row),
            "link": Path(media).resolve().as_uri() + _fragment(row) if exists else "",
            "text": _shortened(row["text"] or ""),
        })  # fmt: skip
    return {"errors": errors, "size_of_error": what, "errors_are": about}


def _decided(label_set: LabelSet, outputs: Floats, report: Report) -> Any:
    if label_set.task == "single-label":
        return outputs.argmax()
    if label_set.task == "dimensional":
        return outputs
    return (outputs > np.asarray(report.thresholds or [0.5] * len(outputs))).astype(float)


def _format_target(label_set: LabelSet, target: Any) -> str:
    if label_set.task == "single-label":
        return label_set.names[int(target)]
    if label_set.task == "multi-label":
        return ", ".join(n for n, on in zip(label_set.names, target, strict=True) if on > 0.5) or "none"
    return ", ".join(f"{n} {v:.2f}" for n, v in zip(label_set.names, target, strict=True) if not np.isnan(v))


def _format_stretch(row: dict[str, Any]) -> str:
    """``, 1.0 to 2.5 s``: the stretch of the recording; nothing of a still picture."""
    return "" if row["end_s"] is None else f", {row['start_s']:.1f} to {row['end_s']:.1f} s"


def _fragment(row: dict[str, Any]) -> str:
    """Where a player should start and stop (W3C media fragments)."""
    return "" if row["end_s"] is None else f"#t={row['start_s']:.2f},{row['end_s']:.2f}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _passport(report: Report) -> list[tuple[str, str]]:
    about = report.provenance
    if about is None:
        return []
    known: list[tuple[str, str]] = [
        ("model", f"{about.model}, weights {about.weights}, licence {about.licence}"),
        ("trained on", "; ".join(about.trained_on) or "not stated"),
        ("seeds", ", ".join(map(str, about.seeds)) or "not known"),
        ("data", f"{about.data}, {about.part}, hash {about.data_hash}"),
        ("split", about.split),
        ("overlap", report.overlap or _NO_OVERLAP[report.overlap]),
        ("versions", ", ".join(f"{name} {number}" for name, number in about.versions.items())),
    ]
    return known


def _settings(report: Report) -> str:
    settings = None if report.provenance is None else report.provenance.settings
    return "" if settings is None else json.dumps(settings, indent=1, ensure_ascii=False)


def _answers(evaluation: Evaluation) -> str:
    """Every answer as CSV: id, speaker, what is true, and each label's probability or each scale's value."""
    label_set = LabelSet.from_dict(evaluation.report.label_set)
    outputs = label_set.activate(evaluation.predictions.logits.double()).numpy()
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(["id", "speaker", "true", *map(csv_cell, label_set.names)])
    for row, target, output in zip(evaluation.rows, evaluation.predictions.target, outputs, strict=True):
        true = _format_target(label_set, target.double().numpy())
        about = map(csv_cell, (row["id"], row["speaker"] or "", true))
        table.writerow([*about, *(f"{value:.6f}" for value in output.tolist())])
    return written.getvalue()


def _markdown(shown: dict[str, Any]) -> str:
    runs: list[dict[str, Any]] = shown["runs"]
    lines = [
        f"# {shown['title']}", "",
        f'{shown["about"]} {shown["meaning"]}', "",
    ]  # fmt: skip
    lines += [text for warning in shown["warnings"] for text in (f"**{warning}**", "")]
    lines += [*shown["table"].markdown(), ""]
    for run in runs:
        report: Report = run["report"]
        lines += [f"## {run['name']}", "", f"{report.name}; answer: {report.decision}.", ""]
        keys = ("name", "value", "interval", "majority", "chance", "definition")
        heads = ["score", "value", "95 % interval", MAJORITY, "chance", "what it is"]
        lines += [*markdown_table(heads, [[row[k] for k in keys] for row in run["scores"]]), ""]
        if run["classes"]:
            lines += [*markdown_table(run["class_columns"], run["classes"]), ""]
        lines += [f"- {note}" for note in report.notes]
        lines += [f"- {key}: {value}" for key, value in run["passport"]]
        lines.append("")
    return visible("\n".join(lines))


__all__ = ["ComparisonPage", "compare"]
