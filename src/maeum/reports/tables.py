"""Tables: Markdown, and models side by side as every page and study shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from maeum.evaluation.base import METRICS
from maeum.visible import markdown_cell

MAJORITY = "majority baseline"
UNDEFINED = "undefined"


def markdown_table(
    heads: Sequence[object], rows: Sequence[Sequence[object]], align: Literal["left", "numbers"] = "left"
) -> list[str]:
    """The lines of a table, without a blank line after it.

    Args:
        heads: of its columns.
        rows: their cells; ``|`` and line breaks in them are escaped.
        align: ``numbers`` sets all columns but the first to the right.
    """
    rule = ["---"] + [{"left": "---", "numbers": "---:"}[align]] * (len(heads) - 1)
    return [_line(heads), f"|{'|'.join(rule)}|", *map(_line, rows)]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(markdown_cell(str(cell)) for cell in cells)} |"


def metric_arrow(metric: str) -> str:
    """The direction in which a metric is better: ``↑`` or ``↓``."""
    return "↑" if METRICS[metric].higher_is_better else "↓"


def metric_title(metric: str) -> str:
    """A metric's name as the head of a column: ``macro f1 ↑``."""
    return f"{metric.replace('_', ' ')} {metric_arrow(metric)}"


def format_number(value: float | None) -> str:
    """``0.123``; empty where there is none."""
    return "" if value is None else f"{value:.3f}"


class Formatted(Protocol):
    """A score that knows how it is printed, with its interval: `Score` or `SeededScore`."""

    def format(self, form: str = ".3f") -> str:
        """As it is printed in one cell."""
        ...


@dataclass(frozen=True)
class ModelRow:
    """One line of a `ModelTable`."""

    cells: tuple[str, ...]
    model: int
    """The number of the model, from 1; 0 for the majority baseline."""


class ModelTable:
    """Models side by side: a row for each, a column for each score, and the majority baseline.

    Args:
        metrics: of which there are columns.
        before: heads of the columns before the scores, the model's name among them.
        after: heads of those after them.
    """

    def __init__(self, metrics: Sequence[str], before: Sequence[str] = ("network",), after: Sequence[str] = ()) -> None:
        self.metrics = tuple(metrics)
        self.heads = (*before, *map(metric_title, metrics), *after)
        self.rows: list[ModelRow] = []
        self._before, self._after = len(before), len(after)

    def add(self, before: Sequence[object], scores: Mapping[str, Formatted], after: Sequence[object] = ()) -> None:
        """Add a model; a score that it lacks is undefined."""
        values = [scores[m].format() if m in scores else UNDEFINED for m in self.metrics]
        number = 1 + sum(row.model > 0 for row in self.rows)
        self.rows.append(ModelRow((*map(str, before), *values, *map(str, after)), number))

    def add_majority(self, scores: Mapping[str, float], column: int = 0) -> None:
        """Add the majority baseline of these items; column: which one, of those before the scores, has its name."""
        before = [""] * self._before
        before[column] = MAJORITY
        values = (format_number(scores.get(m)) for m in self.metrics)
        self.rows.append(ModelRow((*before, *values, *[""] * self._after), 0))

    def markdown(self) -> list[str]:
        """Its lines, without a blank line after it."""
        return markdown_table(self.heads, [row.cells for row in self.rows])
