"""A split in tables."""

from __future__ import annotations

import io

from rich.console import Console

from maeum.corpora.overlaps import Member
from maeum.corpora.splits import OfficialSplit, Split
from maeum.reports.splits import report_split

MEMBERS = [
    Member("a", "c", "train", speaker="Ann", dialogue="1", labels=("joy",)),
    Member("b", "c", "train", speaker="Bob", dialogue="1", labels=("joy", "fear")),
    Member("d", "c", "dev", speaker="Ann", dialogue="2"),
    Member("e", "c", None, speaker="Cid", dialogue="3", labels=("fear",)),
]


def test_parts_and_what_they_share() -> None:
    report = report_split(OfficialSplit().split(MEMBERS), MEMBERS, "c")
    assert report.parts == (
        ("", "train", "dev", "in no part"),
        ("utterances", "2", "1", "1"),
        ("speakers", "2", "1", "1"),
        ("fear", "1", "0", "1"),
        ("joy", "2", "0", "0"),
        ("no label", "0", "1", "0"),
    )
    assert report.shared == (
        ("", "utterances", "speakers", "dialogues", "recordings", "equal contents"),
        ("train", "2", "2", "1", "not known", "not known"),
        ("dev", "1", "1", "1", "not known", "not known"),
        ("train and dev", "0", "1", "0", "not known", "not known"),
    )
    assert report.lines() == [
        "The parts overlap: 1 speaker shared by train and dev",
        "  such as speaker Ann: a and d",
        "Training refuses this split, unless its recipe says allow_overlap: true.",
    ]


def test_terminal_and_markdown_say_the_same() -> None:
    split = Split("mine", {"a": "train", "b": "train", "e": "dev"}, seed=3, notes=("2 ids match nothing",))
    report = report_split(split, MEMBERS, "c")
    out = io.StringIO()
    report.show(Console(file=out, width=80))
    page = report.markdown()
    for text in (out.getvalue(), page):
        for words in (
            "c: mine, seed 3",
            "in no part",
            "train and dev",
            "2 ids match nothing",
            "The parts share nothing.",
        ):
            assert words in text
    assert "…" not in out.getvalue()
    assert "| utterances | 2 | 1 | 1 |" in page
