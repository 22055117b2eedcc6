"""Where commands print, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maeum.visible import visible

if TYPE_CHECKING:
    from rich.console import Console

#: Exit codes: something the user can mend; stopped with Ctrl-C; the reader of our output went away.
BAD_INPUT, STOPPED, NO_READER = 2, 130, 141


class Stopped(Exception):
    """Ctrl-C, with a sentence about what was finished before."""


@contextmanager
def stoppable(finished: str) -> Iterator[None]:
    """Turn Ctrl-C into `Stopped`.

    Args:
        finished: what was finished and how to go on.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(finished) from stop


@contextmanager
def stoppable_training(out: Path) -> Iterator[None]:
    """Turn Ctrl-C during a training that writes into ``out`` into `Stopped`."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if next(out.rglob("last.pt"), None) is None:
            finished = (
                f"No checkpoint was written yet; the same command begins anew in {out}, with what its stores keep."
            )
        else:
            finished = f"The last checkpoint is kept in {out}; the same command goes on from there."
        raise Stopped(finished) from stop


def complain(message: str, code: int = BAD_INPUT) -> int:
    """Print an error in one line on standard error; returns the exit code."""
    _one_line(message, "bold red", "red")
    return code


def note(message: str) -> None:
    """Print one line on standard error that is no error."""
    _one_line(message, "bold yellow", "")


def _one_line(message: str, name_style: str, style: str) -> None:
    from rich.console import Console
    from rich.text import Text

    sys.stdout.flush()
    line = visible(" ".join(message.split()))
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble(("maeum: ", name_style), (line, style)))


def output_console() -> Console:
    """Standard output."""
    return _console_class()(highlight=False, emoji=False, markup=False)


def progress_console() -> Console | None:
    """Where progress is drawn: standard error, if it is a terminal."""
    console: Console = _console_class()(stderr=True)
    return console if console.is_terminal else None


@cache
def _console_class() -> type[Console]:
    """A console on which no text from outside can act, whoever prints it; made when first used, as rich is slow."""
    from rich.console import Console
    from rich.segment import Segment

    class VisibleConsole(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                shown = segment.text if segment.control else visible(segment.text)
                yield segment if shown == segment.text else Segment(shown, segment.style)

        def on_broken_pipe(self) -> None:
            if not self.stderr:
                raise BrokenPipeError  # `main` knows what to do
            super().on_broken_pipe()

    return VisibleConsole


def print_written(console: Console, path: Path | str) -> None:
    """Print where a result is."""
    console.print(f"written: {path}", soft_wrap=True)
