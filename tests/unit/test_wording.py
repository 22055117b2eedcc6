from __future__ import annotations

import pytest

from maeum.wording import alternatives, counted


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "line", "1 line"),
        (0, "line", "0 lines"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
        (3, "batch", "3 batches"),
        (6, "epoch", "6 epochs"),
        (3, "class", "3 classes"),
    ],
)
def test_nouns_agree_with_their_numbers(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_thousands_are_separated_where_wanted() -> None:
    assert counted(1204, "item", separate=True) == "1,204 items"


def test_alternatives_are_joined_by_or() -> None:
    assert alternatives(["a"]) == "a"
    assert alternatives(iter(["a", "b", "c"])) == "a, b or c"
