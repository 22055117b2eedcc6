"""Reading the tables that corpora are distributed with: quotes, byte order marks, stray Windows characters."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from maeum.errors import CorpusError

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
    try:
        return decode_text(path.read_bytes())
    except FileNotFoundError as error:
        raise CorpusError("no such file", item=path) from error
    except OSError as error:
        raise CorpusError(f"cannot be read: {error.strerror or error}", item=path) from error


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
    text = read_text(path)
    first = text.split("\n", 1)[0]
    if delimiter is None:
        delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if missing := [name for name in required if name.lower() not in header]:
            raise CorpusError(f"has no column {missing[0]!r}, only {', '.join(header) or 'nothing'}", item=path)
        if len(set(header)) < len(header):
            raise CorpusError(f"has a column twice: {', '.join(header)}", item=path)
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if len(row) > len(header):
                raise CorpusError(f"line {reader.line_num} has {len(row)} fields, the header {len(header)}", item=path,
                                  remedy="Put quotes around a field that contains the separator.")  # fmt: skip
            yield reader.line_num, dict(zip(header, (f.strip() for f in row), strict=False))
    except csv.Error as error:
        raise CorpusError(f"line {reader.line_num} cannot be read: {error}", item=path) from error
