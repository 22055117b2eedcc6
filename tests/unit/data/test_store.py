"""The store on disk: whole or absent, keyed, checked."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from maeum.corpora.base import LeftOut
from maeum.data.shards import StoreItem, item_key, read_rows
from maeum.data.store import Store
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import ConfigError, StoreError
from maeum.files import TEMPORARY
from maeum.labels import EKMAN
from maeum.types import Utterance

MANIFEST = {"name": "made", "label_set": EKMAN.to_dict()}


def item(number: int, *, faces: int = 2, mel_chunks: int = 3, dtype: str = "float16") -> StoreItem:
    rng = np.random.default_rng(number)
    return StoreItem(
        Utterance(id=f"u/{number} ü", speaker=f"s{number % 3}", text=f"words {number} “ü”", label="fear", part="train"),
        rng.integers(0, 256, (faces, 3, 48, 48), dtype=np.uint8) if faces else None,
        rng.normal(size=(mel_chunks, 1, 128, 32)).astype(dtype) if mel_chunks else None,
        content=f"hash{number}",
        notes=("a note",) if number == 1 else (),
    )


def make(folder: Path, shards: int = 3, per_shard: int = 4, **settings: object) -> Path:
    with StoreWriter(folder, {"corpus": "made", **settings}) as writer:
        plan = []
        for shard in range(shards):
            numbers = range(shard * per_shard, (shard + 1) * per_shard)
            path = writer.shard_path([str(n) for n in numbers])
            if not writer.has(path):
                write_shard(path, [*(item(n) for n in numbers), LeftOut(f"bad{shard}", "broken", "dev")])
            plan.append(path)
        writer.finish(plan, MANIFEST)
    return folder


def test_what_goes_in_comes_out(tmp_path: Path):
    store = Store(make(tmp_path / "s"))
    assert len(store) == 12
    for number in (0, 5, 11, 3):
        expected = item(number)
        assert store.rows[number]["id"] == expected.utterance.id
        assert store.rows[number]["text"] == expected.utterance.text
        assert store.rows[number]["label"] == "fear"
        for name, array in (("faces", expected.faces), ("mel_chunks", expected.mel_chunks)):
            stored = store.array(number, name)
            assert stored is not None
            assert array is not None
            assert stored.dtype == array.dtype
            np.testing.assert_array_equal(stored, array)
    assert store.manifest["account"] == {
        "items": 15, "used": 12, "left_out": 3, "parts": {"train": 12}, "labels": {"train": {"fear": 12}},
        "modalities": {"faces": 12, "speech": 12, "text": 12}, "with_notes": 1,
    }  # fmt: skip
    assert store.manifest["left_out"][0] == {"id": "bad0", "reason": "broken", "part": "dev"}


def test_missing_modalities_stay_missing(tmp_path: Path):
    with StoreWriter(tmp_path / "s", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, [item(0, faces=0), item(1, mel_chunks=0), item(2, faces=0, mel_chunks=0)])
        writer.finish([path], MANIFEST)
    store = Store(tmp_path / "s")
    there = [(store.array(i, "faces") is not None, store.array(i, "mel_chunks") is not None) for i in range(3)]
    assert there == [(False, True), (True, False), (False, False)]


def test_shards_are_plain_tars_with_npy_members(tmp_path: Path):
    folder = make(tmp_path / "s", shards=1)
    (shard,) = (folder / "shards").iterdir()
    with tarfile.open(shard) as tar:
        names = tar.getnames()
        key = item_key(item(0).utterance.id)
        assert names[:3] == [f"{key}.json", f"{key}.faces.npy", f"{key}.mel_chunks.npy"]
        member = tar.extractfile(f"{item_key(item(2).utterance.id)}.faces.npy")
        assert member is not None
        np.testing.assert_array_equal(np.load(io.BytesIO(member.read())), item(2).faces)


@pytest.mark.parametrize(
    ("id", "key"),
    [
        ("Ses01F_impro01_F000", "Ses01F_impro01_F000"),
        ("train/happy/1.jpg", "train_happy_1_jpg-"),
        ("a.b", "a_b-"),
        ("ä ö", "item-"),
        ("\udcff", "item-"),
        ("x" * 200, "x" * 40 + "-"),
        ("-begins like an option", "begins_like_an_option-"),
    ],
)
def test_the_key_of_an_item_is_its_id_in_plain_letters(id: str, key: str):
    found = item_key(id)
    assert found == key if not key.endswith("-") else re.fullmatch(key + "[0-9a-f]{20}", found)
    assert len(f"{found}.mel_chunks.npy") <= 100


def test_ids_that_differ_in_signs_alone_have_different_keys():
    assert len({item_key(id) for id in ("a/b", "a.b", "a b", "a_b", "a__b")}) == 5


def test_same_input_same_bytes(tmp_path: Path):
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    for path in (first / "shards").iterdir():
        assert (second / "shards" / path.name).read_bytes() == path.read_bytes()
    assert (second / "index.parquet").read_bytes() == (first / "index.parquet").read_bytes()


def test_other_settings_are_refused_and_named(tmp_path: Path):
    folder = make(tmp_path / "s", decode={"every_s": 0.5})
    with pytest.raises(StoreError, match=r"decode\.every_s was 0\.5, now 0\.25.*restart"):
        make(folder, decode={"every_s": 0.25})
    assert len(Store(folder)) == 12
    writer = StoreWriter(folder, {"corpus": "made", "decode": {"every_s": 0.25}}, restart=True)
    with writer, pytest.raises(StoreError, match="is not finished"):
        Store(folder)
    make(folder, decode={"every_s": 0.25})
    assert len(list((folder / "shards").iterdir())) == 3


def test_settings_under_which_nothing_was_finished_claim_nothing(tmp_path: Path):
    with StoreWriter(tmp_path / "s", {"corpus": "other"}) as writer:
        (writer.shard_path([]).parent / f"{TEMPORARY}1-half.tar").write_bytes(b"half")
    folder = make(tmp_path / "s")
    assert len(Store(folder)) == 12
    assert json.loads((folder / "settings.json").read_text())["corpus"] == "made"


def test_what_is_left_out_and_noted_can_be_read_as_tables(tmp_path: Path):
    folder = tmp_path / "s"
    with StoreWriter(folder, {}) as writer:
        path = writer.shard_path(["a"])
        noted = StoreItem(Utterance(id='a, "b"', text="x", part="dev"), notes=("no sound", "no picture"))
        write_shard(path, [noted, LeftOut("c", "broken, twice", "test")])
        writer.finish([path], {"left_out": [{"id": "d", "reason": "no such file", "part": None}]})
    with (folder / "left_out.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "part", "reason"], ["d", "", "no such file"], ["c", "test", "broken, twice"],
        ]  # fmt: skip
    with (folder / "notes.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["id", "part", "note"], ['a, "b"', "dev", "no sound"], ['a, "b"', "dev", "no picture"],
        ]  # fmt: skip


def test_second_run_reuses_shards(tmp_path: Path):
    folder = make(tmp_path / "s")
    before = {p.name: p.stat().st_mtime_ns for p in (folder / "shards").iterdir()}
    make(folder)
    assert {p.name: p.stat().st_mtime_ns for p in (folder / "shards").iterdir()} == before


def test_one_process_at_a_time(tmp_path: Path):
    with StoreWriter(tmp_path / "s", {}), pytest.raises(StoreError, match="being prepared by another process"):
        StoreWriter(tmp_path / "s", {}).__enter__()
    with StoreWriter(tmp_path / "s", {}):
        pass


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path):
    (tmp_path / "thesis.doc").write_text("precious")
    with pytest.raises(StoreError, match=r"holds other files \(thesis\.doc\)"):
        StoreWriter(tmp_path, {}).__enter__()
    assert (tmp_path / "thesis.doc").read_text() == "precious"


def test_not_a_store(tmp_path: Path):
    with pytest.raises(StoreError, match=r"is not a store.*prepare"):
        Store(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(StoreError, match=r"is not finished.*Run prepare again"):
        Store(tmp_path)


def test_cut_off_shard_is_named(tmp_path: Path):
    store = Store(make(tmp_path / "s"))
    shard = tmp_path / "s/shards" / store.rows[11]["shard"]
    os.truncate(shard, shard.stat().st_size // 2)
    store.array(0, "faces")
    with pytest.raises(StoreError, match=rf"{shard.name}: is cut off at the mel_chunks of u/11"):
        store.array(11, "mel_chunks")
    with pytest.raises(StoreError, match=shard.name):
        store.verify()


@pytest.mark.parametrize("name", ["faces", "mel_chunks"])
def test_one_altered_bit_is_noticed(tmp_path: Path, name: str):
    store = Store(make(tmp_path / "s"))
    row = store.rows[6]
    shard = tmp_path / "s/shards" / row["shard"]
    data = bytearray(shard.read_bytes())
    data[row[f"{name}_offset"] + 100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{shard.name}: is damaged \(wrong checksum\) at the {name} of u/6"):
        store.array(6, name)
    # A rerun notices too, and makes that shard again.
    make(tmp_path / "s")
    Store(tmp_path / "s").verify()


def test_a_store_of_another_format_is_refused_with_a_remedy(tmp_path: Path):
    folder = make(tmp_path / "s")
    index, settings = folder / "index.parquet", folder / "settings.json"
    earlier = pq.read_table(index).replace_schema_metadata({"maeum": json.dumps({"format": 1, "key": "k"})})
    pq.write_table(earlier, index)
    settings.write_text(json.dumps({"format": 1, "corpus": "made"}))
    with pytest.raises(StoreError, match=r"s: has the store format 1; this version reads 2\. .*with --restart"):
        Store(folder)
    with pytest.raises(StoreError, match=r"s: has the store format 1; this version writes 2\. .*with --restart"):
        make(folder)
    with StoreWriter(folder, {"corpus": "made"}, restart=True):
        pass
    assert len(Store(make(folder))) == 12


def test_a_table_without_its_format_is_refused(tmp_path: Path):
    index = make(tmp_path / "s") / "index.parquet"
    pq.write_table(pq.read_table(index).replace_schema_metadata(None), index)
    with pytest.raises(StoreError, match=r"has the store format None; this version reads 2"):
        Store(tmp_path / "s")


def test_an_unknown_target_is_named(tmp_path: Path):
    store = Store(make(tmp_path / "s"))
    assert store.scales is None
    with pytest.raises(ConfigError, match=r"has no target 'six-class'\. Its targets: none"):
        store.target("six-class")


def test_missing_shard_and_damaged_index(tmp_path: Path):
    store = Store(make(tmp_path / "s"))
    (tmp_path / "s/shards" / store.rows[0]["shard"]).unlink()
    with pytest.raises(StoreError, match="the shard is missing"):
        store.array(0, "faces")
    index = tmp_path / "s/index.parquet"
    index.write_bytes(index.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"index\.parquet: the index is damaged"):
        Store(tmp_path / "s")
    index.write_bytes(b"")
    with pytest.raises(StoreError, match=r"index\.parquet: the index is damaged"):
        Store(tmp_path / "s")


def test_damaged_shard_of_a_rerun(tmp_path: Path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"not a tar at all" * 100)
    with pytest.raises(StoreError, match="damaged"):
        read_rows(path)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (StoreItem(Utterance("x"), faces=np.zeros((1, 48, 48, 3), np.uint8)), "faces are uint8"),
        (StoreItem(Utterance("x"), faces=np.zeros((1, 3, 48, 48), np.float32)), "faces are float32"),
        (StoreItem(Utterance("x"), mel_chunks=np.full((1, 1, 128, 32), np.nan, np.float32)), "not finite"),
    ],
)
def test_wrong_arrays_leave_nothing_behind(tmp_path: Path, bad: StoreItem, problem: str):
    with pytest.raises(StoreError, match=f"x: .*{problem}"):
        write_shard(tmp_path / "s.tar", [item(0), bad])
    assert list(tmp_path.iterdir()) == []


def test_threads_read_one_store(tmp_path: Path):
    store = Store(make(tmp_path / "s"))
    expected = [item(n).mel_chunks for n in range(12)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: store.array(n % 12, "mel_chunks"), range(240)))
    for n, result in enumerate(results):
        np.testing.assert_array_equal(result, expected[n % 12])


def test_store_travels_to_workers(tmp_path: Path):
    store = Store(make(tmp_path / "s"))
    store.array(0, "faces")
    there = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(there.array(7, "faces"), item(7).faces)


def test_full_disk_leaves_nothing_half_written(tmp_path: Path):
    # A real limit on file size, in a process of its own: the write fails in the middle as on a full disk.
    program = textwrap.dedent(f"""
        import resource, signal, sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_store import item
        from maeum.data.store_writer import StoreWriter, write_shard
        from maeum.errors import StoreError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with StoreWriter(Path(sys.argv[1]), {{}}) as writer:
            write_shard(writer.shard_path(["small"]), [item(0)])
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                write_shard(writer.shard_path(["large"]), [item(n) for n in range(20)])
            except StoreError as error:
                print(error)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")], capture_output=True, text=True, check=True
    )
    assert "cannot be written: File too large. The disk or a limit refuses" in done.stdout
    names = [p.name for p in (tmp_path / "s/shards").iterdir()]
    assert len(names) == 1
    assert not names[0].startswith(TEMPORARY)


def test_output_that_cannot_be_made():
    with pytest.raises(StoreError, match=r"cannot be written.*another folder"):
        StoreWriter(Path("/proc/store"), {}).__enter__()


def test_output_inside_a_file(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be written"):
        StoreWriter(tmp_path / "file/store", {}).__enter__()


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda manifest: [manifest], r"manifest\.json: is damaged \(a list, no mapping\)"),
        (lambda manifest: {**manifest, "name": 3}, r"is damaged \(its 'name' is 3\)"),
        (lambda manifest: {"label_set": manifest["label_set"]}, r"is damaged \(it has no 'name'\)"),
        (lambda manifest: {**manifest, "label_set": [1]}, r"is damaged \(its 'label_set' is \[1\]\)"),
    ],
)
def test_a_manifest_that_somebody_edited_is_named(tmp_path: Path, edit: Callable[..., object], problem: str) -> None:
    path = make(tmp_path / "s", 1) / "manifest.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(StoreError, match=problem):
        Store(tmp_path / "s")


def test_a_part_that_there_is_not_is_named_with_its_item(tmp_path: Path) -> None:
    index = make(tmp_path / "s", 1) / "index.parquet"
    table = pq.read_table(index)
    column = table.column_names.index("part")
    parts = ["zzz", *table["part"].to_pylist()[1:]]
    pq.write_table(table.set_column(column, table.schema.field("part"), [parts]), index)
    with pytest.raises(StoreError, match=r"index\.parquet: the index is damaged \(the part of u/0 ü is 'zzz', none of"):
        Store(tmp_path / "s")


@pytest.mark.parametrize("content", ["{", "[]", "[" * 100_000, None], ids=["cut off", "a list", "deep", "missing"])
def test_a_store_with_damaged_settings_is_made_anew_with_restart(tmp_path: Path, content: str | None) -> None:
    settings = make(tmp_path / "s", 1) / "settings.json"
    settings.unlink() if content is None else settings.write_text(content)
    with pytest.raises(StoreError, match=r"settings\.json: is .*or replace the store with --restart"):
        make(tmp_path / "s", 1)
    with StoreWriter(tmp_path / "s", {"corpus": "made"}, restart=True) as writer:
        assert not (tmp_path / "s" / "index.parquet").exists()
        writer.finish([], MANIFEST)
    assert len(Store(tmp_path / "s")) == 0


@pytest.mark.parametrize("name", ["thesis.doc", "manifest.json"])
def test_what_is_no_store_is_never_made_anew(tmp_path: Path, name: str) -> None:
    """A folder of somebody's own, with a file that happens to be called as one of a store."""
    (tmp_path / name).write_text("mine")
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(StoreError, match=r"settings\.json: is damaged .*Choose another folder\.$"):
        StoreWriter(tmp_path, {}, restart=True).__enter__()
    (tmp_path / "settings.json").unlink()
    with pytest.raises(StoreError, match=f"is not a store but holds other files \\({name}"):
        StoreWriter(tmp_path, {}, restart=True).__enter__()
    assert (tmp_path / name).read_text() == "mine"


def test_tables_for_people_hold_nothing_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "s", {}) as writer:
        path = writer.shard_path(["x"])
        write_shard(path, [LeftOut("=1+1", "\x1b[31mred", "dev"), item(0)])
        writer.finish([path], MANIFEST)
    assert (tmp_path / "s" / "left_out.csv").read_text() == "id,part,reason\n'=1+1,dev,␛[31mred\n"
