"""Which items of a corpus are decoded."""

from __future__ import annotations

from maeum.preparation.selection import repeats
from maeum.types import Utterance


def utterance(id: str, part: str | None = None, label: str = "anger") -> Utterance:
    return Utterance(id=id, part=part, label=label)


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
