"""A report of scores in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from maeum.analysis.formatting import shortened
from maeum.evaluation.report import Report
from maeum.reports.tables import metric_arrow
from maeum.wording import counted

#: Letters of a label above its column of a confusion matrix.
_WIDEST_HEAD = 11


def show_report(report: Report, console: Console) -> None:
    """Print scores with their intervals, the row of each class, the confusion matrix, and what was fitted on dev."""
    names = report.label_set["names"]
    assert isinstance(names, list)
    about = counted(report.items, "item") + (f" of {counted(report.groups, 'speaker')}" if report.groups else "")
    console.print(Text.assemble((report.name, "bold"), f"  {about}"))
    for warning in filter(None, (report.overlap, report.speakers_warning)):
        console.print(Text(warning, "bold yellow"))
    console.print(_scores(report))
    if report.classes:
        console.print(_classes(report))
    if report.confusion is not None:
        console.print(_confusion(report.confusion, names))
    if report.thresholds is not None:
        fitted = ", ".join(f"{name} {t:.2f}" for name, t in zip(names, report.thresholds, strict=True))
        console.print(f"thresholds, chosen on dev: {fitted}")
    if report.margins is not None:
        fitted = ", ".join(
            f"{name} {'unknown' if m is None else f'{m:.2f}'}" for name, m in zip(names, report.margins, strict=True)
        )
        console.print(f"margins that hold 90 % of dev items: {fitted}; inside: the share of these items that they hold")
    for note in report.notes:
        console.print(Text(f"note: {note}", "dim"))


def _scores(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("score", "value", "95 % interval", "majority baseline", "chance"):
        table.add_column(name, justify="left" if name == "score" else "right")
    for name, score in report.scores.items():
        interval = score.interval.format() if score.interval is not None else ""
        baselines = [f"{of[name]:.3f}" if name in of else "" for of in (report.majority, report.chance)]
        table.add_row(f"{name} {metric_arrow(name)}", f"{score.value:.3f}", interval, *baselines)
    return table


def _classes(report: Report) -> Table:
    columns = list(report.classes[0])
    table = Table(box=None, padding=(0, 1, 0, 0))
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    for row in report.classes:
        table.add_row(*(cell(row[name]) for name in columns))
    return table


def _confusion(counts: tuple[tuple[int, ...], ...], names: list[str]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), title="rows: true, columns: predicted", title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(shortened(name, _WIDEST_HEAD), justify="right", no_wrap=True)
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        table.add_row(name, *(Text(str(n), "bold" if i == k else "") for k, n in enumerate(row)))
    return table


def cell(value: object) -> str:
    """A value of a class's row as it is printed; None is an undefined score."""
    if value is None:
        return "undefined"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
