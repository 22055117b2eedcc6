"""``maeum splits``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maeum.cli.console import output_console, print_written
from maeum.cli.options import PreparedCorpus


def splits(
    store: PreparedCorpus,
    split: Annotated[
        str,
        typer.Option(help="official, a folder of lists, a recipe, or settings such as '{kind: random, by: speaker}'."),
    ] = "official",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the split as lists of ids into this folder.")] = None,
) -> None:
    """Show what is in each part of a prepared corpus under a split, and what the parts share."""
    from maeum.corpora.base import PARTS
    from maeum.corpora.splits import read_split
    from maeum.data.store import Store
    from maeum.files import Made, check_output_folder
    from maeum.reports.splits import report_split

    if out is not None:
        names = tuple(f"{part}.txt" for part in PARTS)
        check_output_folder(out, Made("a split as maeum splits writes it", _is_split, names, reads=".txt"))
    opened = Store(store)
    members = opened.members()
    made = read_split(split).split(members)
    report = report_split(made, members, str(opened.manifest["name"]))
    console = output_console()
    if markdown:
        console.print(report.markdown(), soft_wrap=True, end="")
    else:
        report.show(console)
    for path in made.write(out) if out is not None else ():
        print_written(console, path)


def _is_split(folder: Path) -> bool:
    from maeum.corpora.base import PARTS
    from maeum.files import visible_files

    lists = {folder / f"{part}.txt" for part in PARTS}
    return {*visible_files(folder), *(p for p in folder.glob("*.txt") if p.name[0] != ".")} <= lists
