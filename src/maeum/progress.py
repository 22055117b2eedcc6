"""The progress bar of long work, as all commands draw it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


def progress_bar(console: Console | None, *, counted: bool = True) -> Progress:
    """A bar that disappears when all is done.

    Args:
        console: where it is drawn; None draws nothing.
        counted: show how many items of how many are done; else the percentage, for tasks that are measured in seconds.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn() if counted else TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console or Console(quiet=True),
        transient=True,
        disable=console is None,
    )
