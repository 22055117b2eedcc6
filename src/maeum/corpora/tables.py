"""Reading the tables that corpora are distributed with: quotes, byte order marks, stray Windows characters."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maeum.errors import CorpusError
from maeum.files import check_regular

#: Control characters U+0080..U+009F that are Windows-1252 letters read as Latin-1 ('\x92' for an apostrophe).
_WINDOWS = {code: char for code in range(0x80, 0xA0) if (char := bytes([code]).decode("cp1252", "ignore"))}


def decode_text(data: bytes) -> str:
    """Bytes of a text file as text: UTF-8, UTF-16 with a mark; stray Windows-1252 bytes are repaired.

    Bytes that are not UTF-8 are read as Windows-1252, one by one, so that one bad apostrophe does not spoil the rest.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    out, rest = [], data.removeprefix(b"\xef\xbb\xbf")
    while rest:
        try:
            out.append(rest.decode("utf-8"))
            break
        except UnicodeDecodeError as error:
            out.append(rest[: error.start].decode("utf-8"))
            out.append(rest[error.start : error.end].decode("cp1252", errors="replace"))
            rest = rest[error.end :]
    return "".join(out).translate(_WINDOWS)


def finite(text: str) -> float | None:
    """A number as it is written; None when it is none, or not finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def read_text(path: Path) -> str:
    """A text file; raises CorpusError naming it when it cannot be read."""
    check_regular(path, CorpusError)
    try:
        return decode_text(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError("no such file", item=path, remedy="Check the path's spelling.") from error
    except OSError as error:
        raise CorpusError(f"cannot be read: {error.strerror or error}", item=path,
                          remedy="Look at its permissions.") from error  # fmt: skip


def read_columns(path: Path) -> list[str]:
    """The columns of a CSV or TSV with a header line, lower case; raises CorpusError when it cannot be read."""
    return _open(path, None)[0]


def read_table(
    path: Path, required: tuple[str, ...], delimiter: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV or TSV with a header line.

    Args:
        path: the file.
        required: columns it must have; names are compared without case and surrounding spaces.
        delimiter: found from the header line (comma, semicolon, tab) when None.

    Yields:
        The line number on which the row ends, and the row, keyed by lower-case column name, values stripped.

    Raises:
        CorpusError: when the file cannot be read, lacks a column, or a row has more fields than the header.
    """
    header, reader = _open(path, delimiter)
    if missing := [name for name in required if name.lower() not in header]:
        raise CorpusError(f"has no column {missing[0]!r}, only {', '.join(header) or 'nothing'}", item=path,
                          remedy=f"Name the column {missing[0]!r} in the first line, or give the file as it was "
                                 "distributed.")  # fmt: skip
    try:
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if len(row) > len(header):
                raise CorpusError(f"line {reader.line_num} has {len(row)} fields, the header {len(header)}", item=path,
                                  remedy="Put quotes around a field that contains the separator.")  # fmt: skip
            yield reader.line_num, dict(zip(header, (f.strip() for f in row), strict=False))
    except csv.Error as error:
        raise _unreadable(path, reader.line_num, error) from error


def _open(path: Path, delimiter: str | None) -> tuple[list[str], Any]:
    """The columns of a table, and the reader of its rows (csv's own type has no name)."""
    text = read_text(path)
    if delimiter is None:
        delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise _unreadable(path, reader.line_num, error) from error
    if twice := [name for name in header if header.count(name) > 1]:
        raise CorpusError(f"has the column {twice[0]!r} twice: {', '.join(header)}", item=path,
                          remedy="Rename or remove one of the two.")  # fmt: skip
    return header, reader


def _unreadable(path: Path, line: int, error: csv.Error) -> CorpusError:
    remedy = "Look for a quote that is not closed."
    return CorpusError(f"line {line} cannot be read: {error}", item=path, remedy=remedy)
