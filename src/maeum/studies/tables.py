"""A study's tables: all networks, subsets of the modalities, and the sweep over the selected attention mass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from maeum.errors import ConfigError, EvaluationError
from maeum.evaluation.intervals import few_groups_warning
from maeum.evaluation.report import Report
from maeum.reports import figures
from maeum.reports.tables import ModelTable, markdown_table, metric_title
from maeum.runs.evaluate import Evaluation
from maeum.studies.flops import Cost, flops_of
from maeum.studies.seeds import SeededScore, difference_over_seeds, over_seeds
from maeum.studies.study import Runs, Study, StudyPage, items_of, score_all, subsets_of, swept, train_all, variants
from maeum.wording import counted


def table(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """All networks: scores, and each class, as the paper's main table has them."""
    done = train_all(study, variants(study, list(study.entries)), out, device, console)
    rows = [_Row(study, runs) for runs in done]
    return StudyPage(
        "\n".join([
            *head(study, "The networks", rows[0].evaluations),
            *_scores(study, rows), "", *_classes(rows), *_published(study, "table"), *_notes(rows), ""
        ]),
        {"study": study.name, "rows": [row.record() for row in rows]},
        {},
    )  # fmt: skip


def parts(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """The first network, and those of the ablation, each of which lacks a part of it."""
    if not study.ablation:
        raise ConfigError("names no networks for an ablation", item=study.name, remedy="Give it `ablation: [...]`.")
    first = next(iter(study.entries))
    names = [first, *(name for name in study.ablation if name != first)]
    rows = [_Row(study, runs) for runs in train_all(study, variants(study, names), out, device, console)]
    return StudyPage(
        "\n".join([
            *head(study, "The network, and what is left when a part is taken away", rows[0].evaluations),
            *_scores(study, rows), "", *_classes(rows), *_published(study, "ablation"), *_notes(rows), ""
        ]),
        {"study": study.name, "rows": [row.record() for row in rows]},
        {},
    )  # fmt: skip


def transcripts(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """Each network with the words that the corpus came with, and with recognised ones."""
    if study.transcripts is None:
        raise ConfigError("names no recognised transcripts", item=study.name,
                          remedy="Give it `transcripts: FILE`, made by `maeum transcribe`.")  # fmt: skip
    numbers, notes, done = [], [], []
    table: ModelTable | None = None
    chosen = variants(study, list(study.entries))
    for runs in train_all(study, chosen, out, device, console, transcripts=study.transcripts):
        given, recognised = score_all(study, runs), score_all(study, runs, transcripts=study.transcripts)
        done.append(given)
        first, *others = [m for m in _defined(study, given) if all(m in e.report.scores for e in recognised)]
        scores = {m: (over_seeds(m, given), over_seeds(m, recognised)) for m in (first, *others)}
        same = given[0].predictions.ids == recognised[0].predictions.ids
        gap = difference_over_seeds(first, recognised, given) if same else None
        minus = "" if gap is None else gap.format("+.3f")
        if table is None:
            after = (f"{metric_title(first)}, recognised minus given",)
            table = ModelTable(tuple(scores), before=("network", "words"), after=after)
        table.add((runs.variant.title, "given"), {m: pair[0] for m, pair in scores.items()}, ("",))
        table.add(("", "recognised"), {m: pair[1] for m, pair in scores.items()}, (minus,))
        numbers.append({
            "title": runs.variant.title, "gap": None if gap is None else _as_record(gap),
            "given": {m: _as_record(pair[0]) for m, pair in scores.items()},
            "recognised": {m: _as_record(pair[1]) for m, pair in scores.items()},
        })  # fmt: skip
        notes += [note for note in recognised[0].report.notes if note.startswith("words were recognised")]
    assert table is not None
    page = [
        *head(study, "The words that the corpus came with, and recognised ones", done[0]),
        *table.markdown(), "",
        *_published(study, "transcripts"), *(f"- {note}" for note in dict.fromkeys(notes)), "",
    ]  # fmt: skip
    return StudyPage("\n".join(page), {"study": study.name, "rows": numbers}, {})


def ablation(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """Each network trained on each subset of the modalities."""
    if not study.ablation:
        raise ConfigError("names no networks for an ablation", item=study.name, remedy="Give it `ablation: [...]`.")
    chosen = [v for subset in subsets_of(study) for v in variants(study, study.ablation, subset)]
    rows = [_Row(study, runs) for runs in train_all(study, chosen, out, device, console)]
    return StudyPage(
        "\n".join([
            *head(study, "Subsets of the modalities (T words, A voice, V faces)", rows[0].evaluations),
            *_scores(study, rows), *_published(study, "ablation"), *_notes(rows), ""
        ]),
        {"study": study.name, "rows": [row.record() for row in rows]},
        {},
    )  # fmt: skip


class _Row:
    """A variant's scores over seeds."""

    def __init__(self, study: Study, runs: Runs) -> None:
        self.title = runs.variant.title
        self.evaluations = score_all(study, runs)
        self.scores: dict[str, SeededScore] = {
            m: over_seeds(m, self.evaluations) for m in _defined(study, self.evaluations)
        }
        self.parameters = runs.model().card.parameters

    def record(self) -> dict[str, Any]:
        scores = {m: _as_record(score) for m, score in self.scores.items()}
        return {"title": self.title, "scores": scores, "classes": [list(e.report.classes) for e in self.evaluations]}


def _defined(study: Study, done: Sequence[Evaluation]) -> list[str]:
    """The study's metrics that every evaluation has; raises EvaluationError when it is none."""
    found = [m for m in study.metrics if all(m in e.report.scores for e in done)]
    if not found:
        raise EvaluationError(f"none of {', '.join(study.metrics)} is defined on these items", item=study.name)
    return found


def _as_record(score: SeededScore) -> dict[str, Any]:
    return {"mean": score.value, "seeds": score.seeds, "interval": _bounds(score)}


def head(study: Study, what: str, done: Sequence[Evaluation]) -> list[str]:
    """Title of a page and what its numbers are, in lines of Markdown; done: answers of one of its networks."""
    report = done[0].report
    speakers = f" of {counted(report.groups, 'speaker')}" if report.groups else ""
    folds = (
        f", each of {len(study.folds)} folds answered by a network that was not trained on it" if study.folds else ""
    )
    lines = [
        f"# {study.title}", "",
        f"{what}; {counted(report.items, 'item', separate=True)}{speakers}, {counted(study.seeds, 'seed')} "
        f"each{folds}. Values are means over seeds; in "
        "brackets 95 % confidence intervals over speakers (items where speakers are not known) and seeds. A network "
        "(after another) started from what that one had learned, and was trained on top of it.", "",
    ]  # fmt: skip
    return [*lines, *_warnings(study, report)]


def _warnings(study: Study, report: Report) -> Iterator[str]:
    """What has to stand above every score of a page, in lines of Markdown."""
    if study.protocol == "published":
        yield "**protocol: published. The best epoch of each fold was chosen on the very items that are scored.**"
        yield ""
    for warning in filter(None, (report.overlap, few_groups_warning(report.groups, report.ungrouped))):
        yield f"**{warning}**"
        yield ""


def _scores(study: Study, rows: Sequence[_Row]) -> list[str]:
    """The table of all networks, in lines of Markdown."""
    metrics = [m for m in study.metrics if all(m in row.scores for row in rows)]
    first = metrics[0]
    table = ModelTable(metrics, after=(f"{metric_title(first)}, minus the first", "of each seed", "parameters"))
    for number, row in enumerate(rows):
        minus = ""
        if number and row.evaluations[0].predictions.ids == rows[0].evaluations[0].predictions.ids:
            minus = difference_over_seeds(first, row.evaluations, rows[0].evaluations).format("+.3f")
        each = " ".join(f"{value:.3f}" for value in row.scores[first].seeds)
        table.add((row.title,), row.scores, (minus, each, f"{row.parameters:,}"))
    table.add_majority(rows[0].evaluations[0].report.majority)
    return table.markdown()


def _classes(rows: Sequence[_Row]) -> Iterator[str]:
    """Each class as ``accuracy / F1`` in percent, means over seeds."""
    first = rows[0].evaluations[0].report
    if not first.classes or "f1" not in first.classes[0]:
        return
    present = [i for i, row in enumerate(first.classes) if row["support"]]
    lines = []
    for row in rows:
        cells = []
        for number in present:
            of = [(e.report.classes[number], e.report.items) for e in row.evaluations]
            values = fmean(_class_accuracy(one, items) for one, items in of), fmean(one["f1"] for one, _ in of)
            cells.append(" / ".join(f"{100 * value:.1f}" for value in values))
        lines.append([row.title, *cells])
    what = "weighted accuracy" if "wacc" in first.classes[0] else "accuracy against the rest"
    yield f"Of each class, {what} / F1 in percent:"
    yield ""
    yield from markdown_table(["network", *(str(first.classes[i]["name"]) for i in present)], lines)


def _class_accuracy(row: dict[str, Any], items: int) -> float:
    """WAcc where there are several labels an item; else of one class against the rest."""
    if "wacc" in row:
        return float(row["wacc"])
    hits = (row["recall"] or 0.0) * row["support"]
    return float((items - row["support"] - row["predicted"] + 2 * hits) / items)


def _published(study: Study, what: str) -> Iterator[str]:
    """What the paper printed, in a table of its own: other items, another split."""
    rows = study.published.get(what)
    if not rows:
        return
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    yield ""
    yield "What the paper printed, of its own items and split:"
    yield ""
    yield from markdown_table(
        ["", *columns], [[name, *(row.get(c, "") for c in columns)] for name, row in rows.items()]
    )


def _notes(rows: Sequence[_Row]) -> Iterator[str]:
    yield ""
    for note in dict.fromkeys(note for row in rows for e in row.evaluations for note in e.report.notes):
        yield f"- {note}"


@dataclass(frozen=True)
class SweepPoint:
    """A network at one attention mass. selected: block -> share of positions, of the first seed, as is the cost."""

    network: str
    top_p: float
    scores: dict[str, SeededScore]
    cost: Cost
    selected: dict[str, float]


def top_p(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """Score, multiply-adds, time and selected positions by the attention mass, none of it trained anew."""
    chosen = swept(study)
    others = [name for name in study.entries if name not in study.sweep]
    trained = train_all(study, chosen, out, device, console)
    fixed = [_Row(study, runs) for runs in train_all(study, variants(study, others), out, device, console)]
    points: list[SweepPoint] = []
    evaluations: list[Evaluation] = []
    for runs in trained:
        for p in study.top_p:
            done = score_all(study, runs, p)
            evaluations += done
            scores = {m: over_seeds(m, done) for m in _defined(study, done)}
            first = next(iter(scores))
            cost = flops_of(runs.model(), items_of(study, runs), items=32, top_p=p, rounds=2)
            shares = {f"{s.branch} {s.stage}": s.selected / s.positions for s in cost.stages if s.positions}
            points.append(SweepPoint(runs.variant.title, p, scores, cost, shares))
            if console is not None:
                score = scores[first].format()
                console.print(f"{runs.variant.title}, p = {p:g}: {first} {score}", soft_wrap=True)
    metrics = [m for m in study.metrics if all(m in q.scores for q in points)]
    first = metrics[0]
    curves = {
        title: [(q.top_p, q.scores[first].value, _bounds(q.scores[first])) for q in points if q.network == title]
        for title in dict.fromkeys(q.network for q in points)
    }
    fixed = [row for row in fixed if first in row.scores]
    lines = {row.title: row.scores[first].value for row in fixed}
    svg = figures.sweep(curves, lines, first.replace("_", " "))
    page = [
        f"# {study.title}: how much has to be selected", "",
        f"Networks that select positions by their attention's mass, at {len(study.top_p)} masses, none trained anew; "
        f"{counted(study.seeds, 'seed')} each. Values are means over seeds, in brackets 95 % confidence intervals over "
        "speakers and seeds. GFLOPs (two for a multiply-add, true neighbour pairs alone) and milliseconds are of an "
        "answer of the first seed; GFLOPs beside their share of a dense network's, which also multiplies padding, and "
        "milliseconds beside their share of the same network's that selects every position.", "",
        *_warnings(study, evaluations[0].report),
        "![top-p](top-p.svg)", "",
        *_sweep_table(points, metrics), "",
        *(f"- {row.title}, not swept: {metric_title(first)} {row.scores[first].format()}" for row in fixed),
        *dict.fromkeys(f"- {note}" for one in evaluations for note in one.report.notes),
        *_published(study, "top-p"), "",
    ]  # fmt: skip
    numbers = [
        {"network": q.network, "top_p": q.top_p, "selected": q.selected, "gflops": 2 * q.cost.done / q.cost.items / 1e9,
         "ms": q.cost.milliseconds, "ms_all": q.cost.all_milliseconds,
         "scores": {m: _as_record(s) for m, s in q.scores.items()}}
        for q in points
    ]  # fmt: skip
    return StudyPage("\n".join(page), {"study": study.name, "points": numbers, "fixed": [r.record() for r in fixed]},
                {"top-p.svg": svg})  # fmt: skip


def _sweep_table(points: Sequence[SweepPoint], metrics: Sequence[str]) -> list[str]:
    """A row for each network and mass, in lines of Markdown."""
    blocks = list(points[0].selected)
    after = ("GFLOPs", "of dense", "ms", "ms / ms at p = 1", *(f"selected, {block}" for block in blocks))
    table = ModelTable(metrics, before=("network", "p"), after=after)
    for point in points:
        cost = point.cost
        compute = (f"{2 * cost.done / cost.items / 1e9:.3f}", f"{cost.done / cost.dense:.2f}")
        time = (f"{cost.milliseconds:.1f}", f"{cost.milliseconds / (cost.all_milliseconds or 1):.2f}")
        selected = (f"{point.selected[block]:.3f}" for block in blocks)
        table.add((point.network, f"{point.top_p:g}"), point.scores, (*compute, *time, *selected))
    return table.markdown()


def _bounds(score: SeededScore) -> tuple[float, float] | None:
    return None if score.interval is None else (score.interval.low, score.interval.high)


__all__ = ["SweepPoint", "ablation", "head", "parts", "table", "top_p", "transcripts"]
