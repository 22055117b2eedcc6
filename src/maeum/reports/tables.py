"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


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
    return f"| {' | '.join(' '.join(str(cell).split()).replace('|', chr(92) + '|') for cell in cells)} |"
