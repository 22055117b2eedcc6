"""A report as tables in the terminal."""

from __future__ import annotations

import json

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from maeum.evaluation.base import METRICS
from maeum.evaluation.report import Report, Score


def render(report: Report) -> Group:
    """Scores with intervals and baseline, a row per label, the confusion matrix and the notes."""
    parts: list[Table | Text] = [_scores(report), _classes(report)]
    if report.confusion is not None:
        parts.append(_confusion(report))
    if report.temperature is not None:
        parts.append(Text(f"temperature {report.temperature:.3f}, fitted on dev"))
    if report.thresholds is not None:
        parts.append(Text("thresholds " + ", ".join(f"{t:.2f}" for t in report.thresholds) + ", chosen on dev"))
    parts += [Text(f"note: {note}", style="yellow") for note in report.notes]
    return Group(*parts)


def print_report(report: Report, console: Console | None = None) -> None:
    """Print `render`."""
    (console or Console()).print(render(report))


def _scores(report: Report) -> Table:
    groups = f", {report.groups} speakers" if report.groups else ""
    table = Table(title=f"{report.name or 'scores'}: {report.items} items{groups}", title_justify="left")
    for column in ("metric", "value", "95 % interval", "always the most frequent"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, score in report.scores.items():
        arrow = "↑" if METRICS[name].higher_is_better else "↓"
        baseline = report.baseline.get(name)
        table.add_row(
            f"{name} {arrow}", f"{score.value:.3f}", _interval(score), "" if baseline is None else f"{baseline:.3f}"
        )
    return table


def _interval(score: Score) -> str:
    return "" if score.interval is None else f"{score.interval.low:.3f} .. {score.interval.high:.3f}"


def _classes(report: Report) -> Table:
    columns = list(report.classes[0])
    table = Table()
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    for row in report.classes:
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "undefined"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:.3f}"
    return (
        value if isinstance(value, str) else json.dumps(int(value) if isinstance(value, float) and value > 1 else value)
    )


def _confusion(report: Report) -> Table:
    table = Table(title="rows true, columns predicted", title_justify="left")
    names = [str(row["name"]) for row in report.classes]
    table.add_column("")
    for name in names:
        table.add_column(name[:9], justify="right")
    assert report.confusion is not None
    for i, (name, row) in enumerate(zip(names, report.confusion, strict=True)):
        table.add_row(
            name, *(Text(str(n), style="bold green" if i == j else "dim" if not n else "") for j, n in enumerate(row))
        )
    return table
