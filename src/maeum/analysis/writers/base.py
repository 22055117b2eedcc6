"""What a writer is, the table of them, and how a timeline is written to files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from maeum.errors import InputError, OutputError
from maeum.files import write_whole
from maeum.models.card import ModelCard
from maeum.registry import Registry
from maeum.types import Timeline


@dataclass(frozen=True)
class Writer:
    """One output format.

    suffix: of its files, with the dot. title: what the format is and for whom, in a few words. render: makes the file's
    content, text or bytes, from a timeline and the card of its model (None where there is none).
    """

    suffix: str
    title: str
    render: Callable[[Timeline, ModelCard | None], str | bytes]


WRITERS: Registry[Writer] = Registry("format", "maeum.writers")


def write_timeline(
    timeline: Timeline,
    folder: Path | str,
    formats: str | Iterable[str] = ("json",),
    *,
    card: ModelCard | None = None,
    stem: str | None = None,
    keep: Iterable[Path | str] = (),
) -> list[Path]:
    """Write a timeline in some formats; each file appears whole or not at all.

    The files are named after the recording, ``clip.json``; in the recording's own folder ``clip.emotions.json``, so
    that a subtitle file or a transcript beside it is never replaced.

    Args:
        timeline: what to write.
        folder: where; made if absent.
        formats: names in `WRITERS`: several, or one text with commas such as ``"html,json"``.
        card: the model's card, for formats that show it.
        stem: name of the files without the ending, instead of the recording's.
        keep: files that must not be replaced, such as the transcript.

    Returns:
        The paths written.

    Raises:
        InputError: when an argument is of another type.
        OutputError: when the folder cannot be made, or a file cannot be written in full.
        ConfigError: on an unknown format.
    """
    if not isinstance(timeline, Timeline):
        raise InputError(f"{type(timeline).__name__} is not a timeline", item="timeline",
                         remedy="Give what Recognizer.analyse returns.")  # fmt: skip
    if not isinstance(folder, str | Path):
        raise InputError(f"{type(folder).__name__} is not a folder", item="folder", remedy="Give its path.")
    writers = [WRITERS[name] for name in _format_names(formats)]
    folder, source = Path(folder), Path(timeline.source)
    written = []
    _make_folder(folder)
    for writer in writers:
        name = stem or source.stem
        if _same_place(folder, source.parent) or any(_same_place(folder / f"{name}{writer.suffix}", k) for k in keep):
            name = f"{name}.emotions"
        path = folder / f"{name}{writer.suffix}"
        write_whole(path, writer.render(timeline, card))
        written.append(path)
    return written


def _format_names(formats: object) -> list[str]:
    given = formats.split(",") if isinstance(formats, str) else formats
    things = list(given) if isinstance(given, Iterable) else [given]
    names = [name.strip() for name in things if isinstance(name, str)]
    if len(names) < len(things):
        raise InputError(f"{formats!r} is not names of formats", item="formats",
                         remedy=f'Give "html,json" or a list of names; there is {", ".join(WRITERS)}.')  # fmt: skip
    return names


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder cannot be made ({error.strerror or error})", item=folder,
                          remedy="Choose another one with --out.") from error  # fmt: skip


def _same_place(a: Path | str, b: Path | str) -> bool:
    return Path(a).resolve() == Path(b).resolve()
