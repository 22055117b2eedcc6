"""The command ``maeum``: its commands, and how each of them ends."""

from __future__ import annotations

import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from maeum import __version__
from maeum.cli import analyse, evaluate, models, prepare, settings, splits, studies, train
from maeum.cli.console import BAD_INPUT, NO_READER, STOPPED, Stopped, complain, note
from maeum.cli.options import HelpFromTables
from maeum.errors import MaeumError, RenamedSettingWarning

app = typer.Typer(
    name="maeum",
    help="Emotion from faces, voice and words: a recording in, a timeline out. Everything runs on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (
    analyse.analyse,
    prepare.prepare,
    prepare.augment,
    prepare.transcribe,
    train.train,
    studies.compare,
    evaluate.evaluate,
    evaluate.report,
    evaluate.flops,
    studies.reproduce,
    splits.splits,
    studies.compare_splits,
    evaluate.calibrate,
    settings.settings,
    settings.recipe,
    models.models,
    models.fetch,
    models.doctor,
):
    app.command(cls=HelpFromTables)(_command)

#: What typer raises for a command line that it does not understand (ClickException, wherever typer keeps it).
_Misunderstood: Any = typer.BadParameter.__mro__[2]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"maeum {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; every end that a user can cause is one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our signs shows ? in their place
    with warnings.catch_warnings():
        _show_renamed_settings_plainly()
        code = _run()
    raise SystemExit(code)


def _run() -> Any:
    """Run the command that was typed; returns the exit code."""
    try:
        code = app(prog_name="maeum", standalone_mode=False)
        if code == STOPPED:  # what some versions of typer make of a KeyboardInterrupt
            return complain("stopped.", STOPPED)
        sys.stdout.flush()
    except MaeumError as error:
        return complain(str(error))
    except Stopped as stop:
        return complain(f"stopped. {stop}", STOPPED)
    except (KeyboardInterrupt, typer.Abort):
        return complain("stopped.", STOPPED)
    except BrokenPipeError:
        # The reader (head, less) closed its end: nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except OSError as error:
        if error.filename is None:
            raise
        return complain(f"{error.filename}: {error.strerror}. Look at its permissions and at the space on its disk.")
    except _Misunderstood as error:
        if len(sys.argv) < 2:
            error.show(file=sys.stderr)  # no command was given: the list of them
            return error.exit_code
        context = getattr(error, "ctx", None)
        command = "maeum" if context is None else context.command_path
        message = error.format_message()
        end = "" if message.endswith("?") else "."
        return complain(f"{message.rstrip('.')}{end} See {command} --help", error.exit_code)
    return code


def _show_renamed_settings_plainly() -> None:
    """Show each warning about the name of a setting once, as one plain line; others as Python shows them."""
    usual = warnings.showwarning
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if not issubclass(category, RenamedSettingWarning):
            usual(message, category, *place, **options)
        elif str(message) not in shown:
            shown.add(str(message))
            note(str(message))

    warnings.showwarning = show
    warnings.simplefilter("always", RenamedSettingWarning)


__all__ = ["BAD_INPUT", "app", "main"]
