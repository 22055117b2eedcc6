from __future__ import annotations

import pytest

from maeum.errors import ConfigError
from maeum.settings_text import parse_json, parse_yaml, with_changes


def test_changes_go_to_their_places_and_are_read_as_yaml() -> None:
    data = {"training": {"epochs": 3}, "train": [{"store": "a"}, {"store": "b"}], "teacher": None}
    changed = with_changes(
        data,
        ["training.lr=1e-3", "train.1.store=c d", "teacher.kind=x", "split={kind: random, by: speaker}", "name="],
    )
    assert changed == {
        "training": {"epochs": 3, "lr": 1e-3},
        "train": [{"store": "a"}, {"store": "c d"}],
        "teacher": {"kind": "x"},
        "split": {"kind": "random", "by": "speaker"},
        "name": None,
    }
    assert data == {"training": {"epochs": 3}, "train": [{"store": "a"}, {"store": "b"}], "teacher": None}


def test_a_later_change_wins_and_a_value_may_hold_signs() -> None:
    assert with_changes({}, ["a=1", "a=2", "b='x=y'"]) == {"a": 2, "b": "x=y"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("training.lr", r"training\.lr: is no change of a setting\. Write it as training\.lr=1e-3"),
        ("=3", "is no change of a setting"),
        ("a..b=3", "is no change of a setting"),
        ("lr={", "cannot be read: .*line 1"),
        ("lr.scale=3", r"lr is 0\.1, which has no setting 'scale'"),
        ("train.2.store=x", "train is a list and has no '2': write a number from 0 to 1"),
        ("train.first.store=x", "train is a list and has no 'first': write a number from 0 to 1"),
        ("dev.0=x", "dev is a list and has no '0': it is empty"),
    ],
)
def test_a_change_that_cannot_be_made_says_why(change: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        with_changes({"lr": 0.1, "train": [{}, {}], "dev": []}, [change])


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: 2\na: 3\n", 3), ("{a: 1, a: 2}", 1), ("- {a: 1}\n- b: 1\n  b: 2\n", 3)]
)
def test_a_key_given_twice_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"the key '[ab]' is given twice, first in line \d, line {line}, column"):
        parse_yaml(text)


def test_a_merged_key_may_be_given_again() -> None:
    text = "shared: &shared {lr: 1, epochs: 2}\nown:\n  <<: *shared\n  lr: 3\n"
    assert parse_yaml(text)["own"] == {"lr": 3, "epochs": 2}


def test_json_is_read_as_json() -> None:
    assert parse_json('{"a": [1, null, true], "b": "\\u00e4"}') == {"a": [1, None, True], "b": "ä"}
    with pytest.raises(ConfigError, match="Expecting"):
        parse_json("{a: 1}")
