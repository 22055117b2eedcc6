"""Files that exist in full or not at all, however a program ends."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from maeum.errors import MaeumError, OutputError, StoreError

#: How names of files begin that are being written; what a kill leaves of them may be removed.
TEMPORARY = ".part-"
#: File of a folder that one process at a time works in; see `only_process`.
LOCK = ".lock"

#: What a file system without locks answers, as some of clusters are.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)

_REMEDIES = {
    errno.ENOSPC: "Free some space, or choose a folder on another disk; what is finished stays.",
    errno.EDQUOT: "Free some space in your quota; what is finished stays.",
    errno.EFBIG: "The disk or a limit refuses files of this size; choose a folder on another disk.",
    errno.EROFS: "The disk is read-only; choose another folder.",
    errno.EACCES: "You may not write here; choose another folder.",
    errno.EPERM: "You may not write here; choose another folder.",
}


@contextlib.contextmanager
def atomic_write(path: Path, error_type: type[MaeumError] = StoreError) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name once everything is written and on the disk.

    Until then it lies beside its place under a temporary name; what stood there before stays when writing fails. Where
    a link stands, what it leads to is written.

    Args:
        path: the file.
        error_type: what is raised when the disk is full, the folder read-only or gone.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error, error_type) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes, error_type: type[MaeumError] = OutputError) -> None:
    """Write text (as UTF-8) or bytes as `atomic_write` does.

    Of a file name that is no UTF-8, a text holds what UTF-8 cannot write: it is escaped as JSON does it.
    """
    with atomic_write(path, error_type) as file:
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


def check_regular(path: Path, error_type: type[MaeumError]) -> None:
    """Raise an error where a path is a pipe, a socket or a device, which may never come to an end.

    A folder, or nothing at all, is left to whoever reads it.
    """
    try:
        other = path.exists() and not path.is_file() and not path.is_dir()
    except (OSError, ValueError):
        return
    if other:
        raise error_type("is a pipe or a device, not a file", item=path, remedy="Write it to a file first.")


def write_error(path: Path, error: OSError, error_type: type[MaeumError] = StoreError) -> MaeumError:
    """The error that tells the user why the operating system refused to write, and what to do about it."""
    return error_type(f"cannot be written: {error.strerror or error}", item=path,
                      remedy=_REMEDIES.get(error.errno or 0, "Choose another folder."))  # fmt: skip


@contextlib.contextmanager
def only_process(folder: Path, work: str) -> Iterator[None]:
    """Hold a folder, which is made when missing: no other process can hold it meanwhile.

    It is free again when the process ends, however that ends. Where there are no locks (Windows, file systems of some
    clusters) nothing is held.

    Args:
        folder: the folder.
        work: what is done in it, for the message to another process: ``prepared``.

    Raises:
        StoreError: when another process holds it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        try:
            _lock(lock)
        except BlockingIOError as error:
            raise StoreError(f"is being {work} by another process", item=folder,
                             remedy="Wait for it, or choose another folder.") from error  # fmt: skip
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise write_error(folder, error) from error
        yield
    finally:
        os.close(lock)


def _lock(file: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


#: How files end that users keep beside results.
_BESIDE = (".yaml", ".yml", ".log", ".md", ".txt")


@dataclass(frozen=True)
class Made:
    """A kind of results, which the command that writes it recognises and may replace.

    Args:
        what: for messages: ``a report of maeum evaluate``.
        recognise: whether this file, or this folder that holds something, is of the kind.
        names: of files directly in the folder that the command writes, and a user's own therefore cannot have.
        reads: an ending of which every file directly in the folder is read, so that none is a user's own.
    """

    what: str
    recognise: Callable[[Path], bool]
    names: tuple[str, ...] = ()
    reads: str | None = None

    def foreign(self, folder: Path) -> Path | None:
        """The file for which results of this kind cannot be written into a folder; None where they can.

        Where there are several it is one that the command does not write itself.
        """
        found = [*visible_files(folder, self)]
        if not found or self.recognise(folder):
            return None
        return next((p for p in found if p.parent != folder or p.name not in self.names), found[0])


def read_mapping(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file; empty where it holds none or cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def has_keys(*keys: str) -> Callable[[Path], bool]:
    """Recognises a JSON file by the keys of its mapping."""
    return lambda file: read_mapping(file).keys() >= set(keys)


def begins_with(text: str) -> Callable[[Path], bool]:
    """Recognises a file by how it begins."""

    def recognise(file: Path) -> bool:
        try:
            with file.open("rb") as opened:
                return opened.read(len(text.encode())) == text.encode()
        except OSError:
            return False

    return recognise


def check_output_folder(folder: Path, made: Made | None = None) -> None:
    """Raise OutputError unless results can be written into a folder, which need not exist yet.

    Called before long work, so that its results have a place.

    Args:
        folder: the folder.
        made: what it may hold already, if anything; None where results get along with whatever is there.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError("is a file, not a folder", item=folder, remedy="Choose another folder.")
    place = next(above for above in (folder, *folder.absolute().parents) if above.exists())
    if not place.is_dir():
        raise OutputError(f"cannot be made: {place} is a file", item=folder, remedy="Choose another folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        reason = OSError(errno.EACCES, os.strerror(errno.EACCES))
        raise write_error(folder, reason, OutputError)
    if made is not None and (foreign := made.foreign(folder)) is not None:
        raise OutputError(f"holds other files ({foreign.relative_to(folder)}) and is not {made.what}", item=folder,
                          remedy="Choose an empty or new folder.")  # fmt: skip


def check_output_file(file: Path, made: Made | None = None) -> None:
    """Raise OutputError unless a file can be written, and holds nothing yet but what ``made`` says.

    Its folder need not exist yet; `write_result` makes it.
    """
    if file.is_dir():
        raise OutputError("is a folder, not a file", item=file, remedy="Name a file in it.")
    if file.exists() and not file.is_file():
        raise OutputError("is a device or a pipe, not a file", item=file, remedy="Name an ordinary file.")
    check_output_folder(file.parent)
    if made is not None and file.is_file() and file.stat().st_size and not made.recognise(file):
        raise OutputError(f"is there already and is not {made.what}", item=file, remedy="Choose another name.")


def write_result(file: Path, text: str) -> None:
    """Write a text as `write_whole` does, into a folder that is made when missing."""
    make_folder(file.parent)
    write_whole(file, text)


def make_folder(folder: Path) -> None:
    """Make a folder of results, when missing; raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error, OutputError) from error


def visible_files(folder: Path, made: Made | None = None) -> Iterator[Path]:
    """Files in a folder or below it, but for those that get along with results.

    These are hidden ones (``.gitkeep``, what a stopped command leaves), and directly in the folder those that
    `is_beside` knows.

    Args:
        folder: the folder.
        made: the results; its own files are none that get along with it.
    """
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        own = made is not None and (path.name in made.names or path.suffix == made.reads)
        beside = len(parts) == 1 and not own and is_beside(path)
        if not beside and not path.is_dir() and not any(part.startswith(".") for part in parts):
            yield path


def is_beside(path: Path) -> bool:
    """Whether a file is one that users keep beside results: a recipe in YAML, a log, notes as .md or .txt."""
    return path.suffix in _BESIDE
