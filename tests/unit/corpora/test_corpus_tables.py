"""Text files as they are found in the wild."""

from __future__ import annotations

from pathlib import Path

import pytest

from maeum.corpora.tables import decode_text, read_columns, read_table
from maeum.errors import CorpusError


def test_windows_characters_in_utf8_are_repaired():
    # An apostrophe and quotes of Windows-1252 that were read as Latin-1 and written as UTF-8.
    assert decode_text("don\x92t \x93stop\x94".encode()) == "don\u2019t \u201cstop\u201d"


def test_stray_windows_bytes_do_not_spoil_the_rest():
    assert decode_text("caf\u00e9 ".encode() + b"don\x92t" + " naïve".encode()) == "café don\u2019t naïve"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_are_not_part_of_the_text(encoding: str):
    assert decode_text("path,text\n한,“é”".encode(encoding)) == "path,text\n한,“é”"


def test_quotes_newlines_and_separators_inside_fields(tmp_path: Path):
    table = tmp_path / "t.csv"
    table.write_text(
        '\ufeffPath , Text\r\na.wav,"She said ""no"", twice\nand left"\r\n\r\nb.wav,plain\r\n', encoding="utf-8"
    )
    rows = [row for _, row in read_table(table, ("path", "text"))]
    assert rows == [
        {"path": "a.wav", "text": 'She said "no", twice\nand left'},
        {"path": "b.wav", "text": "plain"},
    ]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_other_separators_are_found(tmp_path: Path, separator: str):
    table = tmp_path / "t.csv"
    table.write_text(f"path{separator}text\na.wav{separator}well, yes\n", encoding="utf-8")
    assert [row for _, row in read_table(table, ("path",))] == [{"path": "a.wav", "text": "well, yes"}]


def test_missing_column_names_what_there_is(tmp_path: Path):
    table = tmp_path / "t.csv"
    table.write_text("file,text\na.wav,b\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"t\.csv: has no column 'path', only file, text\. Name the column"):
        list(read_table(table, ("path",)))


def test_a_column_that_is_there_twice_is_named(tmp_path: Path):
    table = tmp_path / "t.csv"
    table.write_text("path,text,Text\na.wav,b,c\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"has the column 'text' twice: path, text, text\. Rename or remove"):
        read_columns(table)


def test_too_many_fields_name_the_line(tmp_path: Path):
    table = tmp_path / "t.csv"
    table.write_text("path,text\na.wav,one\nb.wav,one, two\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"line 3 has 3 fields, the header 2.*quotes"):
        list(read_table(table, ("path",)))


def test_missing_file(tmp_path: Path):
    with pytest.raises(CorpusError, match="no such file"):
        list(read_table(tmp_path / "none.csv", ("path",)))
