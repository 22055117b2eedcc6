"""``maeum analyse``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maeum.cli.console import (
    BAD_INPUT,
    Stopped,
    complain,
    output_console,
    print_written,
    progress_console,
)
from maeum.cli.options import Device, ModelName, read_modalities
from maeum.errors import MaeumError
from maeum.wording import counted

if TYPE_CHECKING:
    from maeum.analysis.recognizer import Recognizer
    from maeum.types import Timeline


def analyse(
    recordings: Annotated[
        list[Path], typer.Argument(help="Videos or sound files.", show_default=False, readable=False)
    ],
    transcript: Annotated[
        Path | None,
        typer.Option(help="The words of the recording: .srt, .vtt, .json (with times) or .txt.", readable=False),
    ] = None,
    asr: Annotated[
        str,
        typer.Option(
            help="What recognises the words without a transcript: {recognizers}, a folder or name of a "
            "Whisper, off; auto is whisper-base, where it was fetched."
        ),
    ] = "auto",
    language: Annotated[
        str | None, typer.Option(help="The language that is spoken, such as en; by default it is found out.")
    ] = None,
    model: ModelName = None,
    modalities: Annotated[
        str | None,
        typer.Option(help="Load only these branches, such as speech,text; then only their licences bind."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write results into this folder.")] = None,
    format: Annotated[
        str | None, typer.Option(help="{formats}; several with commas. By default json,html with --out.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(help="Below this, 0 to 1, give no answer; by default the model's own bound, 0 always answers."),
    ] = None,
    device: Device = "cpu",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no timeline, only write files.")] = False,
) -> None:
    """Show which emotions faces, voices and words in a recording express, over time."""
    formats = _read_formats(format)
    folder = out if out is not None else Path() if format is not None else None
    if quiet and folder is None:
        raise typer.BadParameter("nothing would be shown or written; give --out too", param_hint="--quiet")
    if transcript is not None and len(recordings) > 1:
        raise typer.BadParameter(
            "one transcript belongs to one recording; analyse them one by one", param_hint="--transcript"
        )
    from maeum.analysis.recognizer import load
    from maeum.analysis.words import AUTO, choose_recognizer
    from maeum.analysis.writers import write_timeline
    from maeum.files import check_output_folder

    if folder is not None:
        check_output_folder(folder)
    recognizer = load(model, device, read_modalities(modalities))
    if transcript is None or asr != AUTO:
        choose_recognizer(asr)  # whose name is wrong or whose weights are missing ends the command here
    keep = [*recordings, *([transcript] if transcript else [])]
    failed = 0
    written: list[Path] = []
    for number, path in enumerate(recordings):
        try:
            timeline = _analyse_one(recognizer, path, transcript, asr, language, min_confidence)
            if not quiet:
                _show(timeline, recognizer)
            if folder is not None:
                stem = _unique_stem(recordings, number)
                files = write_timeline(timeline, folder, formats, card=recognizer.card, stem=stem, keep=keep)
                written += files
                _show_written(files)
        except MaeumError as error:
            failed += 1
            complain(str(error))
        except KeyboardInterrupt as stop:
            finished = f"Complete so far: {counted(len(written), 'file')}." if written else "Nothing was written."
            raise Stopped(finished) from stop
    if failed:
        if len(recordings) > 1:
            complain(f"{failed} of {len(recordings)} recordings could not be analysed; the others are done")
        raise typer.Exit(BAD_INPUT)


def _read_formats(text: str | None) -> list[str]:
    """``json,csv`` as names of writers; raises an error on an unknown one."""
    from maeum.analysis.writers import WRITERS

    if text is None:
        return ["json", "html"]
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    for name in names:
        _ = WRITERS[name]
    if not names:
        raise typer.BadParameter(f"give one of {', '.join(WRITERS)}", param_hint="--format")
    return names


def _unique_stem(recordings: list[Path], number: int) -> str | None:
    """The name of a recording's files, where another before it has the same; else None for its own name."""
    path = recordings[number]
    return f"{path.stem}-{number + 1}" if path.stem in (p.stem for p in recordings[:number]) else None


def _analyse_one(
    recognizer: Recognizer,
    path: Path,
    transcript: Path | None,
    asr: str,
    language: str | None,
    min_confidence: float | None,
) -> Timeline:
    from maeum.progress import progress_bar

    with progress_bar(progress_console(), counted=False) as bar:
        task = bar.add_task(path.name, total=None)

        def draw(stage: str, done_s: float, total_s: float) -> None:
            description = f"{path.name}: {stage}"
            bar.update(task, description=description, completed=min(done_s, total_s), total=total_s or None)

        return recognizer.analyse(
            path, transcript, asr=asr, language=language, min_confidence=min_confidence, progress=draw
        )


def _show(timeline: Timeline, recognizer: Recognizer) -> None:
    from maeum.analysis.terminal import show_timeline

    console = output_console()
    show_timeline(timeline, console, recognizer.card)
    console.print()


def _show_written(files: list[Path]) -> None:
    console = output_console()
    for file in files:
        print_written(console, file)
    console.print()
