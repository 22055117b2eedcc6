"""Members of zip archives, addressed like files: ``archive.zip/inner/name.jpg``."""

from __future__ import annotations

import os
import zipfile
from functools import lru_cache
from pathlib import Path

#: What a damaged archive, a missing member or a compression that cannot be read raises.
ArchiveError = (KeyError, OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError)


def archive_of(path: Path) -> Path | None:
    """The zip file that a path leads into; None for a file of its own, or where there is no archive."""
    if path.exists():
        return None
    return next((p for p in path.parents if p.suffix.lower() == ".zip" and p.is_file()), None)


def read_member(archive: Path, path: Path) -> bytes:
    """The bytes of a member.

    Args:
        archive: the zip file, see `archive_of`.
        path: of the member, leading through the archive.

    Raises:
        KeyError: when the archive has no such member.
        OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError: when it cannot be read.
    """
    return _opened(archive, archive.stat().st_mtime_ns, os.getpid()).read(path.relative_to(archive).as_posix())


def member_names(archive: Path) -> list[str]:
    """The names of an archive's members; raises as `read_member` does."""
    return _opened(archive, archive.stat().st_mtime_ns, os.getpid()).namelist()


# A process of its own opens a file of its own: a forked one would share the position. A changed file is opened anew.
@lru_cache(maxsize=4)
def _opened(archive: Path, changed_ns: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(archive)
