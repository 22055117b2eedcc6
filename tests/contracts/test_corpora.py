"""What every registered corpus has to keep."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from maeum.corpora import CORPORA, LeftOut, make_corpus
from maeum.corpora.base import PARTS
from maeum.corpora.overlaps import Member
from maeum.corpora.splits import OfficialSplit
from maeum.errors import CorpusError
from maeum.types import MODALITIES, Utterance


def _ravdess(folder: Path) -> Path:
    for actor in range(1, 25):
        for emotion in range(1, 9):
            (folder / f"03-01-0{emotion}-01-01-01-{actor:02d}.wav").write_bytes(f"{actor} {emotion}".encode())
    return folder


def _emodb(folder: Path) -> Path:
    for speaker in (3, 8, 9, 10, 11, 12, 13, 14, 15, 16):
        for letter in "WLEAFTN":
            (folder / f"{speaker:02d}a01{letter}a.wav").write_bytes(f"{speaker} {letter}".encode())
    return folder


def _fer2013(folder: Path) -> Path:
    for part in ("train", "dev", "test"):
        for emotion in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"):
            (folder / part / emotion).mkdir(parents=True)
            (folder / part / emotion / "1.jpg").write_bytes(f"{part} {emotion}".encode())
    return folder


def _goemotions(folder: Path) -> Path:
    (folder / "labels.txt").write_text("anger\ndisgust\nfear\njoy\nneutral\nsadness\nsurprise\n")
    for part in PARTS:
        (folder / f"{part}.tsv").write_text("".join(f"{part} {i}\t{i}\t{part}{i}\n" for i in range(7)))
    return folder


def _meld(folder: Path) -> Path:
    for part in PARTS:
        rows = "".join(f"hm,Ross,{e},{i},0\n" for i, e in enumerate(("joy", "anger", "neutral")))
        (folder / f"{part}_sent_emo.csv").write_text("Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\n" + rows)
    return folder


def _iemocap(folder: Path) -> Path:
    for session in range(1, 6):
        dialogue = f"Ses0{session}F_impro01"
        place = folder / f"Session{session}/dialog"
        (place / "EmoEvaluation").mkdir(parents=True)
        (place / "transcriptions").mkdir()
        line = f"[1.0000 - 2.0000]\t{dialogue}_F000\tsad\t[2.0000, 2.5000, 3.0000]\n"
        (place / f"EmoEvaluation/{dialogue}.txt").write_text(line)
        (place / f"transcriptions/{dialogue}.txt").write_text(f"{dialogue}_F000 [001.0000-002.0000]: No.\nM: Oh.\n")
    return folder


def _mosei(folder: Path) -> Path:
    columns = "Input.VIDEO_ID,Input.CLIP,Answer.anger,Answer.disgust,Answer.fear,Answer.happiness,Answer.sadness"
    rows = [f"{columns},Answer.surprise,Answer.sentiment"]
    for part in PARTS:
        with av.open(str(folder / f"-{part}.mp4"), "w") as out:
            stream: Any = out.add_stream("mpeg4", rate=10)
            stream.width = stream.height = 16
            for _ in range(20):
                out.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
            out.mux(stream.encode(None))
        shutil.copy(folder / f"-{part}.mp4", folder / f"-{part}.wav")
        (folder / f"-{part}_0.txt").write_text(f"-{part}___0___0.0___1.5___No.\n-{part}___1___3.0___1.0___Yes.\n")
        (folder / f"{part}.txt").write_text(f"-{part}\n")
        rows.append(f"-{part},0,0,0,0,1,0,0,2")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def _crema_d(folder: Path) -> Path:
    (folder / "AudioWAV").mkdir()
    for actor in (1001, 1064, 1078):
        for code in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
            (folder / f"AudioWAV/{actor}_DFA_{code}_XX.wav").write_bytes(f"{actor} {code}".encode())
    return folder


def _folder(folder: Path) -> Path:
    rows = "".join(f",some words {i},{'happy' if i else 'sad'},s{i},{part}\n" for i, part in enumerate(PARTS))
    (folder / "items.csv").write_text("path,text,label,speaker,part\n" + rows)
    return folder


MADE: dict[str, Callable[[Path], Path]] = {
    "ravdess": _ravdess, "emodb": _emodb, "fer2013": _fer2013, "goemotions": _goemotions, "meld": _meld,
    "iemocap": _iemocap, "mosei": _mosei, "crema-d": _crema_d, "folder": _folder,
}  # fmt: skip


def test_every_corpus_is_tested():
    assert set(CORPORA) == set(MADE)


#: What the official parts of a corpus share, all the same.
SHARED = {"meld": {"speaker"}}


@pytest.mark.parametrize("name", sorted(MADE))
class TestEveryCorpus:
    def test_says_what_it_is(self, name: str):
        corpus = make_corpus(name)
        assert corpus.name == name
        assert corpus.title
        assert corpus.licence
        assert corpus.citation
        assert corpus.modalities
        assert set(corpus.modalities) <= set(MODALITIES)
        assert (corpus.faces == "none") == ("faces" not in corpus.modalities)

    def test_labels_ids_and_parts(self, name: str, tmp_path: Path):
        corpus = make_corpus(name)
        used = list(corpus.utterances(MADE[name](tmp_path)))
        assert used
        assert len({u.id for u in used}) == len(used)
        for utterance in used:
            assert utterance.label is not None
            corpus.label_set.encode(utterance.label)
        assert {u.part for u in used} == set(PARTS)

    def test_its_own_parts_share_nothing(self, name: str, tmp_path: Path):
        members = [Member.of(u, name) for u in make_corpus(name).utterances(MADE[name](tmp_path))]
        shared = {overlap.kind for overlap in OfficialSplit().split(members).overlaps(members)}
        assert shared == SHARED.get(name, set())

    def test_order_is_fixed_and_nothing_vanishes(self, name: str, tmp_path: Path):
        source = MADE[name](tmp_path)
        first, second = list(make_corpus(name).items(source)), list(make_corpus(name).items(source))
        assert first == second
        used = list(make_corpus(name).utterances(source))
        assert len(used) + sum(isinstance(i, LeftOut) for i in first) == len(first)
        assert all(isinstance(i, Utterance | LeftOut) for i in first)

    def test_wrong_source_is_a_clear_error(self, name: str, tmp_path: Path):
        for source in (tmp_path, tmp_path / "nothing"):
            with pytest.raises(CorpusError) as caught:
                list(make_corpus(name).items(source))
            assert str(tmp_path) in str(caught.value)
