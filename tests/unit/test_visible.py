"""What would act without being seen, when it is shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.table import Table

from maeum.analysis.writers import WRITERS
from maeum.analysis.writers.base import write_timeline
from maeum.cli.console import complain, output_console, print_written
from maeum.files import write_whole
from maeum.models.card import ModelCard, Score, markdown
from maeum.reports.tables import markdown_table
from maeum.types import Prediction, Segment, Timeline
from maeum.visible import csv_cell, visible

#: Red, a title of the window, a bell, a carriage return, delete, a C1 control, letters turned around, a broken byte.
STEERING = "\x1b[31m\x1b]0;title\x07 a\rb \x7f\x9b2J \u202egpj.exe\u202c \u2066x\u2069 \udcff"
UNSEEN = ("\x1b", "\x07", "\r", "\x7f", "\x9b", "\u202e", "\u202c", "\u2066", "\u2069", "\udcff")


def is_plain(text: str) -> bool:
    return not any(sign in text for sign in UNSEEN)


def test_steering_signs_become_visible_and_others_stay() -> None:
    assert visible(STEERING) == (r"␛[31m␛]0;title␇ a␍b ␡\x9b2J \u202egpj.exe\u202c \u2066x\u2069 \xff")
    kept = "one\n\ttwo, 감정, عاطفة\u200f!, \u200e12\u061c, 👩\u200d👩, naïve"
    assert visible(kept) == kept


@pytest.mark.parametrize(
    ("text", "cell"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("a\rb", "a\nb"), ("\x1b", "␛"), ("", "")]
)
def test_cells_of_a_csv(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


def test_terminal_and_errors_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    console = output_console()
    table = Table()
    table.add_column(STEERING)
    table.add_row(STEERING)
    console.print(table)
    console.print(STEERING)
    print_written(console, f"out/{STEERING}")
    complain(f"{STEERING}: no such file")
    shown = capsys.readouterr()
    assert is_plain(shown.out)
    assert is_plain(shown.err)
    assert "␛[31m" in shown.out
    assert "␛[31m" in shown.err


@pytest.fixture
def steering() -> Timeline:
    label = f"joy{STEERING}"
    prediction = Prediction({label: 0.8, "b": 0.2}, label, 0.8, notes=(STEERING,), id="1")
    return Timeline(f"/films/{STEERING}.mp4", 4.0, (Segment(0.0, 4.0, prediction, STEERING, None, STEERING),),
                    labels=(label, "b"), model=STEERING, notes=(STEERING,))  # fmt: skip


CARD = ModelCard(name=STEERING, title=STEERING, licence=STEERING, non_commercial=True, parameters=1,
                 scores=(Score(name="a|b\nc", data=STEERING, value=0.5),))  # fmt: skip


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "json"])
def test_files_show_them(steering: Timeline, name: str) -> None:
    text = WRITERS[name].render(steering, CARD)
    assert isinstance(text, str)
    assert is_plain(text)
    assert "␛[31m" in text


def test_a_file_name_that_is_no_utf_8_can_be_written(steering: Timeline, tmp_path: Path) -> None:
    steering = replace(steering, source="/films/\udcff.mp4")
    for path in write_timeline(steering, tmp_path, list(WRITERS), card=CARD, stem="x"):
        assert b"udcff" in path.read_bytes() or rb"\xff" in path.read_bytes()
    write_whole(tmp_path / "y", '"\udcff"')
    assert (tmp_path / "y").read_bytes() == rb'"\udcff"'


@pytest.mark.parametrize(
    "make", [lambda: markdown(CARD), lambda: "\n".join(markdown_table(["x", STEERING], [[1, f"{STEERING}|\n2"]]))]
)
def test_markdown_shows_them_and_a_row_stays_a_row(make: Callable[[], str]) -> None:
    text = make()
    assert is_plain(text)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.replace(r"\|", "").count("|") for line in rows}) == 1


def test_a_label_cannot_run_in_a_spreadsheet(steering: Timeline) -> None:
    rows = list(csv.reader(io.StringIO(str(WRITERS["csv"].render(steering, None)))))
    assert len(rows) == 2
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
