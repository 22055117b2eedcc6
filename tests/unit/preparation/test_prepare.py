"""Preparing a corpus: the account, the proof, resuming after anything."""

from __future__ import annotations

import functools
import io
import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from label_counts import class_counts
from maeum.corpora import CORPORA
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError, StoreError
from maeum.preparation.prepare import PrepareConfig, prepare
from maeum.runs.licences import licences_of


@pytest.fixture
def recordings(tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]) -> Path:
    """Six sounds of three speakers in three parts, a sentence, and two rows that cannot be used."""
    folder = tmp_path / "source"
    folder.mkdir()
    lines = ["path,text,label,speaker,part"]
    for i in range(6):
        make_media(folder / f"{i}.wav", sound=make_sine(200 + 50 * i, 0.5, 16_000))
        lines.append(f"{i}.wav,words {i},{'joy' if i % 2 else 'sad'},s{i // 2},{('train', 'dev', 'test')[i // 2]}")
    (folder / "broken.wav").write_bytes(b"RIFF")
    lines += [",only words,anger,,train", "broken.wav,,fear,s0,train", "gone.wav,,fear,s0,train"]
    (folder / "items.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_account_of_every_item(recordings: Path, tmp_path: Path):
    report = prepare("folder", recordings, tmp_path / "store")
    assert report.account["items"] == 9
    assert report.account["used"] == 7
    assert report.account["parts"] == {"train": 3, "dev": 2, "test": 2}
    assert report.account["modalities"] == {"faces": 0, "speech": 6, "text": 7}
    reasons = {item.id: item.reason for item in report.left_out}
    assert reasons["gone.wav"].startswith("no such file")
    assert "broken.wav" in reasons["broken.wav"]
    manifest = Store(tmp_path / "store").manifest
    assert manifest["name"] == "folder"
    assert {"licence", "citation", "versions", "settings", "label_set", "left_out"} <= set(manifest)
    assert "7 of 9 items used, 2 left out" in report.lines()[0]
    clips = StoreDataset(tmp_path / "store", "dev")
    assert clips[0].modalities == ("speech", "text")
    assert class_counts(clips) == {**dict.fromkeys(clips.label_set.names, 0), "happiness": 1, "sadness": 1}


def test_second_run_reuses_everything_and_a_changed_source_is_seen(
    recordings: Path, tmp_path: Path, make_media: Callable[..., Path], make_sine: Callable[..., Any]
):
    first = prepare("folder", recordings, tmp_path / "store")
    assert (first.shards, first.reused) == (1, 0)
    assert prepare("folder", recordings, tmp_path / "store").reused == 1
    before = Store(tmp_path / "store").array(0, "mel_chunks")
    make_media(recordings / "0.wav", sound=make_sine(1000, 0.5, 16_000))
    assert prepare("folder", recordings, tmp_path / "store").reused == 0
    after = Store(tmp_path / "store").array(0, "mel_chunks")
    assert not np.array_equal(before, after)  # type: ignore[arg-type]
    assert len(list((tmp_path / "store/shards").iterdir())) == 1


def test_other_settings_are_refused_or_begin_anew(recordings: Path, tmp_path: Path):
    prepare("folder", recordings, tmp_path / "store")
    other = PrepareConfig(precision="float32")
    with pytest.raises(StoreError, match=r'precision was "float16", now "float32"'):
        prepare("folder", recordings, tmp_path / "store", other)
    prepare("folder", recordings, tmp_path / "store", other, restart=True)
    mel_chunks = Store(tmp_path / "store").array(0, "mel_chunks")
    assert mel_chunks is not None
    assert mel_chunks.dtype == np.float32


def test_workers_make_the_same_store(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("maeum.preparation.prepare._ITEMS_PER_SHARD", {"media": 3, "crops": 3, "text": 3})
    prepare("folder", recordings, tmp_path / "one")
    prepare("folder", recordings, tmp_path / "two", workers=2)
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    assert one.rows == two.rows
    for path in (tmp_path / "one").rglob("*.*"):
        if path.is_file() and path.name != ".lock":
            assert (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()


def test_a_killed_worker_is_an_error_with_a_remedy(recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("maeum.preparation.prepare._ITEMS_PER_SHARD", {"media": 3, "crops": 3, "text": 3})
    with monkeypatch.context() as patch:
        kill = functools.partial(signal.raise_signal, signal.SIGKILL)
        patch.setattr("maeum.preparation.prepare._begin_worker", kill)
        with pytest.raises(StoreError, match=r"store: a worker was killed .* fewer than 2 workers.* same command"):
            prepare("folder", recordings, tmp_path / "store", workers=2)
    assert prepare("folder", recordings, tmp_path / "store", workers=2).account["used"] == 7


def test_a_licence_may_be_stated_later_and_reaches_the_terms(recordings: Path, tmp_path: Path):
    prepare("folder", recordings, tmp_path / "one")
    assert licences_of([tmp_path / "one"]).non_commercial
    stated = prepare("folder", recordings, tmp_path / "one", PrepareConfig(options={"licence": "CC BY 4.0"}))
    assert stated.reused == stated.shards
    assert Store(tmp_path / "one").manifest["licence"] == "CC BY 4.0"
    assert not licences_of([tmp_path / "one"]).non_commercial
    prepare("folder", recordings, tmp_path / "two", PrepareConfig(options={"licence": "CC BY-NC 4.0"}))
    both = licences_of([tmp_path / "one", tmp_path / "two"])
    assert both.non_commercial
    assert both.licence == "CC BY 4.0; CC BY-NC 4.0"
    assert [line.rpartition(": ")[2] for line in both.data] == ["CC BY 4.0", "CC BY-NC 4.0"]


def test_shared_speakers_and_recordings_are_said(recordings: Path, tmp_path: Path):
    table = recordings / "items.csv"
    good = table.read_text()
    table.write_text(good.replace("2.wav,words 2,sad,s1,dev", "2.wav,words 2,sad,s0,dev"))
    notes = prepare("folder", recordings, tmp_path / "store").notes
    assert notes[1:] == ("its own parts overlap: 1 speaker shared by train and dev; see `maeum splits`",)
    (recordings / "2.wav").write_bytes((recordings / "0.wav").read_bytes())
    table.write_text(good)
    notes = prepare("folder", recordings, tmp_path / "other").notes
    assert notes[1:] == ("its own parts overlap: 1 equal content shared by train and dev; see `maeum splits`",)


def test_a_moved_corpus_is_found_again_without_decoding(recordings: Path, tmp_path: Path):
    prepare("folder", recordings, tmp_path / "store")
    moved = recordings.rename(tmp_path / "moved")
    report = prepare("folder", moved, tmp_path / "store")
    assert report.reused == report.shards
    media = [row["media"] for row in Store(tmp_path / "store").rows]
    assert media == [*(str(moved / f"{i}.wav") for i in range(6)), None]
    assert pq.read_table(tmp_path / "store/index.parquet")["media"].to_pylist() == [
        *(f"{i}.wav" for i in range(6)), None,
    ]  # fmt: skip
    members = Store(tmp_path / "store").members()
    assert [member.recording for member in members] == [*(f"{i}.wav" for i in range(6)), None]
    assert len({member.content for member in members}) == 7


def test_every_row_says_what_was_read_of_its_recording(recordings: Path, tmp_path: Path):
    table = (recordings / "items.csv").read_text().splitlines()
    rows = [f"{table[0]},start_s,end_s", f"{table[1]},,", f"{table[2]},0.1,0.3", f"{table[3]},0.2,9.0", f"{table[7]},,"]
    (recordings / "items.csv").write_text("\n".join(rows), encoding="utf-8")
    prepare("folder", recordings, tmp_path / "store")
    found = [(r["start_s"], r["end_s"], r["duration_s"]) for r in Store(tmp_path / "store").rows]
    assert found[3] == (None, None, None)
    np.testing.assert_allclose(np.array(found[:3]), [[0, 0.5, 0.5], [0.1, 0.3, 0.2], [0.2, 0.5, 0.3]], atol=1e-3)


def test_repeated_faces_stay_in_dev_and_once_in_train(tmp_path: Path):
    rng = np.random.default_rng(0)
    pictures = {name: Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)) for name in "abc"}
    for place, name in {"train/sad/1": "a", "train/sad/2": "a", "train/sad/3": "b", "dev/sad/4": "b", "dev/sad/5": "b",
                        "train/happy/6": "c", "train/sad/7": "c", "train/fear/8": None}.items():  # fmt: skip
        path = tmp_path / "fer" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (pictures[name] if name else Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8))).save(path)
    report = prepare("fer2013", tmp_path / "fer", tmp_path / "store")
    assert [row["id"] for row in Store(tmp_path / "store").rows] == [
        "dev/sad/4",
        "dev/sad/5",
        "train/fear/8",
        "train/sad/1",
    ]
    assert report.reasons == {
        "the same as another item": ["train/sad/2", "train/sad/3"],
        "copies of the same item carry different labels": ["train/happy/6", "train/sad/7"],
    }
    assert any("corpus is distributed with 28709" in note for note in report.notes)


def test_unknown_names_are_explained(tmp_path: Path):
    with pytest.raises(ConfigError, match="Did you mean 'ravdess'"):
        prepare("ravdes", tmp_path, tmp_path / "store")
    with pytest.raises(ConfigError, match="did you mean labels"):
        prepare("goemotions", tmp_path, tmp_path / "store", PrepareConfig(options={"label": "multi"}))


def test_wrong_source_leaves_no_store(tmp_path: Path):
    with pytest.raises(CorpusError):
        prepare("meld", tmp_path / "nowhere", tmp_path / "store")
    with pytest.raises(StoreError, match="is not finished"):
        Store(tmp_path / "store")


def test_a_corpus_of_broken_files_is_an_error_that_says_why(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    (tmp_path / "t.csv").write_text("path,label\na.wav,fear\n")
    with pytest.raises(CorpusError, match=r"nothing of it can be used; first reason: a\.wav: .*a\.wav"):
        prepare("folder", tmp_path / "t.csv", tmp_path / "store")


def test_limit_takes_some_of_each_part(recordings: Path, tmp_path: Path):
    report = prepare("folder", recordings, tmp_path / "store", PrepareConfig(limit=1))
    assert report.account["parts"] == {"train": 1, "dev": 1, "test": 1}
    assert "limit: 1 item of each part; 5 more were not read (train 3, dev 1, test 1)" in "\n".join(report.lines())
    whole = prepare("folder", recordings, tmp_path / "whole", PrepareConfig(limit=9))
    assert "limit: 9 items of each part; no part has more" in "\n".join(whole.lines())


def test_a_limit_keeps_every_label_and_the_proportions_of_the_part(tmp_path: Path):
    # Sorted by label, as many corpora are, and one label is rare.
    labels = ["neutral"] * 60 + ["joy"] * 30 + ["fear"] * 9 + ["sad"]
    source = tmp_path / "source"
    source.mkdir()
    rows = "".join(f",sentence {i},{label},train\n" for i, label in enumerate(labels))
    (source / "t.csv").write_text(f"path,text,label,part\n{rows}", encoding="utf-8")
    report = prepare("folder", source, tmp_path / "store", PrepareConfig(limit=10))
    assert report.account["labels"]["train"] == {"fear": 1, "happiness": 3, "neutral": 5, "sadness": 1}
    kept = [int(row["text"].split()[1]) for row in Store(tmp_path / "store").rows]
    assert kept == sorted(kept)
    assert kept[:5] == [6, 18, 30, 42, 54], "evenly spaced among the 60 of its label"
    again = prepare("folder", source, tmp_path / "again", PrepareConfig(limit=10))
    assert [row["id"] for row in Store(again.store).rows] == [row["id"] for row in Store(report.store).rows]


def test_the_account_names_examples_and_the_files_that_list_all(recordings: Path, tmp_path: Path):
    table = recordings / "items.csv"
    table.write_text(table.read_text() + "".join(f"\ngone{i}.wav,,fear,s0,train" for i in range(3)))
    store = tmp_path / "store"
    lines = prepare("folder", recordings, store).lines()
    assert "  left out: 4 x no such file (gone.wav, gone0.wav, gone1.wav ...)" in lines
    assert f"  every item that is left out, and why: {store / 'left_out.csv'}" in lines
    assert (store / "left_out.csv").read_text().splitlines()[0] == "id,part,reason"
    assert len((store / "left_out.csv").read_text().splitlines()) == 1 + 5
    assert not any("with a note" in line for line in lines), "no item of this corpus has a picture"
    assert [line for line in lines if " note: " in line] == ["  note: sad is read as sadness (3), joy as happiness (3)"]


def test_notes_of_some_items_are_shown(recordings: Path, tmp_path: Path):
    table = recordings / "items.csv"
    table.write_text(table.read_text().replace("broken.wav,,", "broken.wav,words,"))
    store = tmp_path / "store"
    report = prepare("folder", recordings, store)
    assert list(report.noted) == list(report.text_only) == ["broken.wav"]
    assert f"  every note: {store / 'notes.csv'}" in report.lines()
    assert any(line.startswith("  1 item with a note: broken.wav (") for line in report.lines())


def test_a_corpus_without_labels_says_that_nothing_can_be_learned(recordings: Path, tmp_path: Path):
    table = recordings / "items.csv"
    table.write_text(table.read_text().replace("path,text,label,", "path,text,mood,"))
    notes = prepare("folder", recordings, tmp_path / "store").notes
    assert "the table has no column 'label', only path, text, mood, speaker, part" in notes
    assert "no item has a label or a value: nothing can be trained or scored on this store" in notes


def test_a_source_in_which_nothing_is_found_does_not_claim_the_store(
    recordings: Path, tmp_path: Path, make_emodb: Callable[..., Path]
):
    with pytest.raises(CorpusError):
        prepare("ravdess", recordings, tmp_path / "store")
    assert prepare("emodb", make_emodb(tmp_path / "emodb"), tmp_path / "store").corpus == "emodb"


def test_progress_is_drawn_when_a_console_is_given(recordings: Path, tmp_path: Path):
    out = io.StringIO()
    prepare("folder", recordings, tmp_path / "store", console=Console(file=out, force_terminal=True, width=100))
    assert "decode" in out.getvalue()
    assert "8/8" in out.getvalue()


KILLS = textwrap.dedent("""
    import json, os, shutil, signal, sys, traceback
    from pathlib import Path
    import pandas, pyarrow.compute, pyarrow.pandas_compat  # else every child imports them, as pyarrow does on first use
    import torch
    torch.set_num_threads(1)
    from maeum.errors import StoreError
    from maeum.data.store import Store
    from maeum.preparation import prepare as module
    module._ITEMS_PER_SHARD = {"media": 3, "crops": 3, "text": 3}
    corpus, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])

    def files(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    def in_child(work):
        # Always in a child: threads that decoding leaves behind in this process would not be there in its children.
        child = os.fork()
        if child == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
        return not os.WIFSIGNALED(status)

    assert in_child(lambda: module.prepare(corpus, source, out / "reference"))
    reference = files(out / "reference")
    kills, unfinished, completed = 0, 0, False
    while not completed:
        store = out / f"store{kills}"

        def die():
            # Die at the n-th time that something is opened, renamed, listed or removed in the store.
            left = kills + 1

            def hook(event, args):
                nonlocal left
                if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(store) in str(args[0]):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            module.prepare(corpus, source, store)

        completed = in_child(die)
        kept = {p.name: p.stat().st_mtime_ns for p in store.rglob("*.tar") if not p.name.startswith(".")}
        try:
            Store(store).verify()
        except StoreError:
            unfinished += 1

        def resume():
            report = module.prepare(corpus, source, store)
            assert report.reused == len(kept), (report.reused, kept)

        assert in_child(resume)
        for name, changed in kept.items():
            assert (store / "shards" / name).stat().st_mtime_ns == changed
        assert files(store) == reference, kills
        kills += 1
        shutil.rmtree(store)
    print(json.dumps({"kills": kills - 1, "unfinished": unfinished}))
""")


MAKERS = {
    "crema-d": "make_crema_d",
    "emodb": "make_emodb",
    "fer2013": "make_fer2013",
    "goemotions": "make_goemotions",
    "iemocap": "make_iemocap",
    "meld": "make_meld",
    "mosei": "make_mosei",
    "ravdess": "make_ravdess",
}


def test_every_corpus_is_killed():
    assert {*MAKERS, "folder"} == set(CORPORA)


@pytest.mark.parametrize("corpus", ["folder", *MAKERS])
def test_killed_at_every_point_and_resumed(
    corpus: str, recordings: Path, tmp_path: Path, request: pytest.FixtureRequest
):
    source = recordings if corpus == "folder" else request.getfixturevalue(MAKERS[corpus])(tmp_path / corpus)
    done = subprocess.run(
        [sys.executable, "-c", KILLS, corpus, str(source), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    # Lock, settings, three shards, manifest and index are each opened and renamed.
    assert counts["kills"] >= 20
    assert counts["unfinished"] >= 20


def test_emodb_as_a_store(tmp_path: Path, make_emodb: Callable[..., Path]):
    report = prepare("emodb", make_emodb(tmp_path / "source"), tmp_path / "store")
    rows = Store(tmp_path / "store").rows
    assert [(r["id"], r["label"], r["speaker"], r["part"], r["text"], r["mel_chunks_count"]) for r in rows] == [
        ("03a01Fa", "happiness", "emodb-03", "train", None, 2),
        ("08b03Wb", "anger", "emodb-08", "train", None, 2),
        ("12a02Na", "neutral", "emodb-12", "dev", None, 3),
        ("13b01Tc", "sadness", "emodb-13", "dev", None, 2),
        ("15a04Ad", "fear", "emodb-15", "test", None, 2),
        ("16b09Ea", "disgust", "emodb-16", "test", None, 3),
    ]
    left = {item.id: item.reason for item in report.left_out}
    assert left == {
        "09a05La": "boredom is outside the label set",
        "99song.wav": "the name does not follow the scheme of EmoDB",
    }
    assert report.account["items"] == report.account["used"] + len(left)


def test_fer2013_as_a_store(tmp_path: Path, make_fer2013: Callable[..., Path]):
    report = prepare("fer2013", make_fer2013(tmp_path / "source"), tmp_path / "store")
    store = Store(tmp_path / "store")
    found = {row["id"]: (row["label"], row["part"], int(store.array(i, "faces").mean()))  # type: ignore[union-attr]
             for i, row in enumerate(store.rows)}  # fmt: skip
    emotions = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral",
                "sad": "sadness", "surprise": "surprise"}  # fmt: skip
    places = [(part, name) for part in ("train", "dev", "test") for name in emotions]
    expected = {f"{part}/{name}/1": (emotions[name], part, 20 + 10 * i) for i, (part, name) in enumerate(places)}
    del expected["train/fear/1"]
    assert found == expected
    left = {item.id: item.reason for item in report.left_out}
    labels = "copies of the same item carry different labels: fear, surprise"
    assert left == {
        "1.png": "not in a folder part/emotion, with part one of train, dev, test",
        "train/sad/2": "the same as test/sad/1 in test",
        "train/fear/1": labels,
        "train/surprise/2": labels,
    }
    assert report.account["items"] == report.account["used"] + len(left)


def test_goemotions_as_a_store(tmp_path: Path, make_goemotions: Callable[..., Path]):
    report = prepare("goemotions", make_goemotions(tmp_path / "source"), tmp_path / "store")
    emotions = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    expected = [
        (f"goemotions-{part}-{part}{number}", part, emotions[number], f'{part} says "{number}"')
        for part in ("train", "dev", "test")
        for number in range(7)
    ]
    # What is said again stays in the last part that has it.
    expected.append(("goemotions-test-test8", "test", "neutral", "Again!"))
    rows = Store(tmp_path / "store").rows
    assert [(r["id"], r["part"], r["label"], r["text"]) for r in rows] == expected
    left = {item.id: item.reason for item in report.left_out}
    both = "several labels (anger, sadness) where one is asked for"
    assert left == {
        **{f"goemotions-{part}-{part}7": both for part in ("train", "dev", "test")},
        "goemotions-train-train8": "the same as goemotions-test-test8 in test",
        "goemotions-dev-dev8": "the same as goemotions-test-test8 in test",
    }
    assert report.account["items"] == report.account["used"] + len(left)
