"""What parts share is counted, named, refused, and said."""

from __future__ import annotations

import pytest

from maeum.corpora.overlaps import Member, format_allowed, format_overlaps, keys_of, overlaps, refuse
from maeum.corpora.splits import OfficialSplit
from maeum.errors import CorpusError
from maeum.types import Recording, Utterance


def found(*members: Member) -> dict[tuple[str, tuple[str, str]], int]:
    return {(o.kind, o.parts): o.count for o in OfficialSplit().split(members).overlaps(members)}


def test_each_kind_is_counted_for_each_two_parts() -> None:
    members = (
        Member("a", "c", "train", speaker="Ann", dialogue="d1", recording="r1", content="h1"),
        Member("b", "c", "train", speaker="Bob", dialogue="d2", recording="r2", content="h2"),
        Member("e", "c", "dev", speaker="Ann", dialogue="d2", recording="r3", content="h3"),
        Member("f", "c", "dev", speaker="Bob", dialogue="d3", recording="r4", content="h4"),
        Member("g", "c", "test", speaker="Cid", dialogue="d3", recording="r1", content="h2"),
        Member("h", "c", None, speaker="Cid", dialogue="d1", recording="r1", content="h1"),
    )
    assert found(*members) == {
        ("speaker", ("train", "dev")): 2,
        ("dialogue", ("train", "dev")): 1,
        ("recording", ("train", "test")): 1,
        ("content", ("train", "test")): 1,
        ("dialogue", ("dev", "test")): 1,
    }


def test_what_is_not_known_is_not_shared() -> None:
    assert found(Member("a", part="train"), Member("b", part="dev")) == {}


def test_dialogues_of_different_corpora_are_different_and_speakers_are_people() -> None:
    one = Member("a", "x", "train", speaker="Ann", dialogue="1", recording="1")
    other = Member("b", "y", "dev", speaker="Ann", dialogue="1", recording="1")
    assert found(one, other) == {("speaker", ("train", "dev")): 1}


def test_composed_items_share_their_sources() -> None:
    composed = Member("a", "collage", "train", composed_of=("fer2013:f1", "ravdess:v1"))
    other = Member("b", "collage", "dev", composed_of=("fer2013:f1", "ravdess:v2"))
    assert found(composed, other) == {("utterance", ("train", "dev")): 1}
    assert found(composed, Member("v1", "ravdess", "dev")) == {("utterance", ("train", "dev")): 1}


def test_an_overlap_is_refused_by_name_or_goes_with_the_scores() -> None:
    members = [Member("a", "c", "train", speaker="Ann"), Member("b", "c", "dev", speaker="Ann")]
    shared = OfficialSplit().split(members).overlaps(members)
    with pytest.raises(CorpusError, match=r"1 speaker shared by train and dev \(such as speaker Ann: a and b\)"):
        refuse(shared, allow=False)
    words = refuse(shared, allow=True)
    assert format_allowed(words) == "overlap allowed: 1 speaker shared by train and dev"
    assert refuse((), allow=False) == ()
    assert format_allowed(()) == ""


def test_words_name_each_two_parts_once() -> None:
    keys = {
        "train": keys_of([Member("a", speaker="A", recording="r"), Member("b", speaker="B")]),
        "dev": keys_of([Member("c", speaker="A", recording="r"), Member("d", speaker="B")]),
        "test": keys_of([Member("e", speaker="B")]),
    }
    assert format_overlaps(overlaps(keys)) == (
        "2 speakers, 1 recording shared by train and dev",
        "1 speaker shared by train and test",
        "1 speaker shared by dev and test",
    )


def test_an_utterance_becomes_a_member() -> None:
    utterance = Utterance(
        "u", Recording("r"), dialogue="d", speaker="s", session="S", part="dev", label=("joy", "fear")
    )
    assert Member.of(utterance, "c", "h") == Member("u", "c", "dev", "s", "d", "r", "S", "h", (), ("joy", "fear"))
    assert Member.of(Utterance("u", label={"valence": 1.0})).labels == ()
