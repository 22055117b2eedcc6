"""Parts that share nobody."""

from __future__ import annotations

import pytest

from maeum.corpora.splits import by_speaker, check_parts, repeats
from maeum.errors import CorpusError
from maeum.types import Utterance


def utterance(id: str, part: str | None = None, speaker: str | None = None, label: str = "anger") -> Utterance:
    return Utterance(id=id, part=part, speaker=speaker, label=label)


def test_shared_speaker_is_named():
    items = [utterance("a", "train", "Ann"), utterance("b", "train", "Bob"), utterance("c", "dev", "Ann")]
    with pytest.raises(CorpusError, match=r"speaker 'Ann' is in train \(a\) and in dev \(c\)"):
        check_parts(items)
    check_parts(items, speakers=False)


def test_shared_recording_is_named():
    items = [utterance("a", "train", "Ann"), utterance("c", "dev", "Bob")]
    with pytest.raises(CorpusError, match="a in train and c in dev are the same recording"):
        check_parts(items, {"a": "h1", "c": "h1"})
    check_parts(items, {"a": "h1", "c": "h2"})


def test_items_without_a_part_are_not_compared():
    check_parts([utterance("a", None, "Ann"), utterance("b", "dev", "Ann")], {"a": "h", "b": "h"})


def test_by_speaker_keeps_speakers_whole_and_shares_close():
    items = [utterance(f"{s}-{i}", speaker=f"s{s}") for s in range(20) for i in range(5 + s % 3)]
    parted = by_speaker(items, 0.2, 0.2, seed=3)
    check_parts(parted)
    assert [u.id for u in parted] == [u.id for u in items]
    sizes = {part: sum(u.part == part for u in parted) / len(items) for part in ("train", "dev", "test")}
    assert sizes == pytest.approx({"train": 0.6, "dev": 0.2, "test": 0.2}, abs=0.06)
    assert [u.part for u in by_speaker(items, 0.2, 0.2, seed=3)] == [u.part for u in parted]
    assert [u.part for u in by_speaker(items, 0.2, 0.2, seed=4)] != [u.part for u in parted]


def test_by_speaker_fills_every_part_even_with_few_speakers():
    items = [utterance(str(i), speaker=f"s{i}") for i in range(3)]
    for seed in range(5):
        assert {u.part for u in by_speaker(items, 0.05, 0.05, seed)} == {"train", "dev", "test"}


def test_by_speaker_needs_speakers():
    with pytest.raises(CorpusError, match="x: has no speaker"):
        by_speaker([utterance("x")], 0.1, 0.1)
    with pytest.raises(CorpusError, match="1 speakers cannot fill 3 parts"):
        by_speaker([utterance("x", speaker="a")], 0.1, 0.1)
    with pytest.raises(CorpusError, match="leave nothing for train"):
        by_speaker([utterance("x", speaker="a")], 0.5, 0.5)


def test_repeats_stay_in_the_later_part():
    items = [utterance("t1", "train"), utterance("t2", "train"), utterance("d1", "dev"), utterance("d2", "dev")]
    gone = repeats(items, {"t1": "h", "t2": "x", "d1": "h", "d2": "h"})
    assert gone == {"t1": "the same as d1 in dev"}


def test_repeats_in_train_keep_the_first():
    items = [utterance("a", "train"), utterance("b", "train"), utterance("c", "train")]
    assert repeats(items, {"a": "h", "b": "h", "c": "i"}) == {"b": "the same as a"}


def test_repeats_in_train_with_different_labels_all_go():
    items = [utterance("a", "train", label="fear"), utterance("b", "train", label="anger")]
    gone = repeats(items, {"a": "h", "b": "h"})
    assert set(gone) == {"a", "b"}
    assert gone["a"].endswith("different labels: anger, fear")
