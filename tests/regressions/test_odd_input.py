"""Numbers, signs and places that ended in tracebacks or were taken for something else; each is one clear error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maeum.data.store import Store
from maeum.errors import ConfigError, MaeumError, ModelError, OutputError, StoreError, TranscriptError
from maeum.files import atomic_write, check_output_file
from maeum.media.text import read_transcript
from maeum.models.encoders.tokenizer import load_tokenizer
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.settings_text import parse_json, parse_yaml, read_settings, with_changes
from maeum.training.config import TrainConfig


@pytest.mark.parametrize(("name", "text", "problem"), [
    ("digits.srt", f"1\n{'9' * 5000}:00:00,000 --> {'9' * 5000}:00:01,000\nhi\n", "line 2: 999.* hours are no time"),
    ("digits.srt", f"1\n{'9' * 400}:00:00,000 --> {'9' * 400}:00:01,000\nhi\n", "line 2: 999.* hours are no time"),
    ("end.json", f'[{{"start": 0, "end": 1{"0" * 400}, "text": "hi"}}]', "end of more than 15 digits is not a time"),
    ("end.json", f'[{{"start": 0, "end": 1{"0" * 5000}, "text": "hi"}}]', "a number that is too long"),
])  # fmt: skip
def test_times_of_thousands_of_digits(tmp_path: Path, name: str, text: str, problem: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TranscriptError, match=problem):
        read_transcript(tmp_path / name)


def test_half_a_sign_in_a_transcript_becomes_a_question_mark(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('[{"start": 0, "end": 1, "text": "\\ud800 hi"}]')
    (line,) = read_transcript(tmp_path / "half.json")
    assert line.text == "? hi"


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_half_a_sign_in_settings_is_refused(parse: Any) -> None:
    with pytest.raises(ConfigError, match="half of a sign"):
        parse('{"name": "\\ud800"}', "my.json")
    assert parse('{"name": "\\u00e9"}') == {"name": "\u00e9"}


@pytest.mark.parametrize(("text", "value"), [
    ("1e-4", 1e-4), ("-2.5E3", -2500.0), (".5", 0.5), ("3.", 3.0), ("10", 10), ("-7", -7), ("0", 0),
    (".inf", float("inf")), ("010", "010"), ("1:30", "1:30"), ("0x1f", "0x1f"), ("1_000", "1_000"),
    ("9" * 5000, "9" * 5000),
])  # fmt: skip
def test_numbers_are_those_that_people_write(text: str, value: Any) -> None:
    found = parse_yaml(f"x: {text}")["x"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["1:30", "0x" + "f" * 5000, "9" * 5000])
def test_what_is_no_number_is_no_setting(text: str) -> None:
    with pytest.raises(ConfigError, match="epochs"):
        TrainConfig.parse(parse_yaml(f"epochs: {text}"))


def test_changes_are_not_deeper_than_files() -> None:
    with pytest.raises(ConfigError, match="is no change of a setting"):
        with_changes({}, ["a." * 2000 + "a=1"])


def test_json_with_a_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "my.json").write_bytes(b"\xef\xbb\xbf" + json.dumps({"lr": 1}).encode())
    assert read_settings(tmp_path / "my.json") == {"lr": 1}


def test_results_replace_no_pipe_and_go_where_a_link_leads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is a device or a pipe"):
        check_output_file(tmp_path / "pipe")
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    check_output_file(tmp_path / "link.json")
    with atomic_write(tmp_path / "link.json") as file:
        file.write(b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_a_damaged_tokenizer_names_its_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.spm").write_bytes(b"junk")
    with pytest.raises(
        ModelError, match=r"tokenizer/tokenizer\.spm: is damaged.* Fetch or copy the model folder again"
    ):
        load_tokenizer(tmp_path / "tokenizer")


def test_an_item_that_stands_twice_in_an_index_is_damage(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "table.csv").write_text("path,text,label,speaker,part\n,hello,happiness,a,train\n")
    prepare("folder", tmp_path / "source", tmp_path / "store", PrepareConfig())
    index = tmp_path / "store" / "index.parquet"
    table = pq.read_table(index)
    pq.write_table(pa.concat_tables([table, table]).replace_schema_metadata(table.schema.metadata), index)
    with pytest.raises(StoreError, match=r"stands in it twice"):
        Store(tmp_path / "store")


def test_an_example_of_a_setting_shows_its_default() -> None:
    with pytest.raises(MaeumError) as caught:
        TrainConfig.parse({"losses": 3})
    assert "Undefined" not in str(caught.value)
