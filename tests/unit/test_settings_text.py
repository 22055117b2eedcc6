from __future__ import annotations

import json

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
    ("text", "lines"),
    [
        ("a: 1\nb: 2\na: 3\n", "lines 1 and 3"),
        ("{a: 1, a: 2}", "line 1"),
        ("- {a: 1}\n- b: 1\n  b: 2\n", "lines 2 and 3"),
    ],
)
def test_a_key_given_twice_is_refused_with_its_line(text: str, lines: str) -> None:
    with pytest.raises(ConfigError, match=rf"^cannot be read: the key '[ab]' is given twice, in {lines}$"):
        parse_yaml(text)


def test_a_merged_key_may_be_given_again() -> None:
    text = "shared: &shared {lr: 1, epochs: 2}\nown:\n  <<: *shared\n  lr: 3\n"
    assert parse_yaml(text)["own"] == {"lr": 3, "epochs": 2}


def test_json_is_read_as_json() -> None:
    assert parse_json('{"a": [1, null, true], "b": "\\u00e4"}') == {"a": [1, None, True], "b": "ä"}
    with pytest.raises(ConfigError, match="Expecting"):
        parse_json("{a: 1}")


def bomb(width: int, depth: int) -> str:
    """Lists of lists of ... of which each names the one before it several times."""
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 10_000, "nested more than 100 deep, line 1, column 101"),
        ("[" * 10_000 + "]" * 10_000, "nested more than 100 deep"),
        ("? [a]\n: 1", "a list or a mapping is no name of a setting, line 1, column 3"),
        ("? {a: 1}\n: 1", "is no name of a setting"),
        (bomb(9, 9), r"with its aliases written out it has more than 100,000 values, line \d"),
        (bomb(2, 60), "more than 100,000 values"),
        ("a: &a [*a]", "an alias names what it stands in"),
        ("a: 2024-99-99", "'2024-99-99' is no timestamp, line 1, column 4"),
        ("a: !!set [1]", "cannot be read"),
        ("# " * 2_000_001, "is too large for settings: 4,000,002 characters"),
    ],
    ids=lambda text: text[:12].split("\n")[0],
)
def test_yaml_that_would_exhaust_the_program_is_one_error(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        parse_yaml(text, "r.yaml")
    assert str(error.value).startswith("r.yaml: ")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("text", ["[" * 10_000, "[" * 10_000 + "]" * 10_000, '{"a":' * 500 + "1" + "}" * 500])
def test_deep_json_is_one_error(text: str) -> None:
    with pytest.raises(ConfigError, match="nested more than 100 deep"):
        parse_json(text)
    with pytest.raises(ConfigError, match="4300 digits"):
        parse_json("9" * 5000)


def test_what_settings_need_is_read() -> None:
    assert parse_yaml("x: &x [1, 2]\ny: [*x, *x]") == {"x": [1, 2], "y": [[1, 2], [1, 2]]}
    deep = "[" * 90 + "]" * 90
    assert parse_yaml(deep) == parse_json(deep)
    assert len(parse_json(json.dumps([[]] * 2000))) == 2000
