"""docs/store.md: what it shows works as it stands, and its table names the columns that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maeum.data.store import Store
from maeum.preparation.prepare import PrepareConfig, prepare

PAGE = Path(__file__).parents[3] / "docs" / "store.md"


@pytest.fixture
def store(tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any], monkeypatch) -> Store:
    """Four sounds in two shards, prepared where the page expects them."""
    source = tmp_path / "mine"
    source.mkdir()
    lines = ["path,text,label,part,emoval"]
    for i in range(4):
        make_media(source / f"{i}.wav", sound=make_sine(200 + 50 * i, 0.5, 16_000))
        lines.append(f"{i}.wav,words {i},{('happiness', 'anger')[i % 2]},train,{i + 1}")
    lines.append(",only words,fear,train,2")
    (source / "table.csv").write_text("\n".join(lines))
    monkeypatch.setattr("maeum.preparation.prepare._ITEMS_PER_SHARD", {"media": 2, "crops": 2, "text": 2})
    prepare("folder", source, tmp_path / "stores/mine", PrepareConfig(options={"scales": {"EmoVal": [1, 7]}}))
    monkeypatch.chdir(tmp_path)
    return Store("stores/mine")


@pytest.fixture
def shown() -> dict[str, str]:
    """The page's examples by the first thing that they import."""
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return {re.search(r"(pandas|pyarrow|maeum|webdataset)", example)[1]: example for example in examples}  # type: ignore[index]


def run(example: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec"), found)
    return found


def test_pandas_reads_the_index(store: Store, shown: dict[str, str]):
    items = run(shown["pandas"])["items"]
    assert items["label"].tolist() == ["happiness", "anger", "happiness", "anger", "fear"]
    assert items["duration_s"].sum() == pytest.approx(2.0, abs=0.01)
    assert items["media"].tolist()[:4] == [f"{i}.wav" for i in range(4)]
    assert items["end_s"].isna().tolist() == [False] * 4 + [True]
    assert [scales["EmoVal"] for scales in items["scales"]] == [1, 2, 3, 4, 2]


def test_pyarrow_makes_columns_of_the_scales(store: Store, shown: dict[str, str]):
    assert run(shown["pyarrow"])["table"]["scales.EmoVal"].to_pylist() == [1, 2, 3, 4, 2]


def test_the_store_opens_as_it_is_shown(store: Store, shown: dict[str, str]):
    opened = run(shown["maeum"])["store"]
    assert opened.rows[0]["media"] == str(Path("mine/0.wav").absolute())


def test_webdataset_reads_all_shards_with_distinct_keys(store: Store, shown: dict[str, str]):
    example = shown["webdataset"].replace(
        "    about =", "    found.append((sample['__key__'], len(sample)))\n    about ="
    )
    program = f"found = []\n{example}\nprint(json.dumps(found))"
    # In a process of its own: webdataset leaves files for the garbage collector to close.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = dict(json.loads(done.stdout))
    assert len(json.loads(done.stdout)) == len(found) == 5
    assert set(found) == {row["key"] for row in store.rows}
    assert len(list(Path("stores/mine/shards").iterdir())) == 3
    with_sound = {row["key"] for row in store.rows if row["mel_chunks_count"]}
    assert {key for key, members in found.items() if members == max(found.values())} == with_sound


def test_the_table_of_the_page_names_the_columns_of_the_index(store: Store):
    import pyarrow.parquet as pq

    section = PAGE.read_text().split("## The index")[1].split("pandas reads")[0]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in section.splitlines() if "|" in line)))
    columns = set(pq.read_schema("stores/mine/index.parquet").names)
    plain = {name for name in columns if not name.startswith(("faces_", "mel_chunks_", "wave_"))}
    assert plain <= named
