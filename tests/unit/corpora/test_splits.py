"""Splits: the parts they make, and what is refused."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maeum.corpora.overlaps import Member
from maeum.corpora.splits import (
    SPLITS,
    LeaveOneOutSplit,
    ListsSplit,
    OfficialSplit,
    RandomSplit,
    Split,
    Splitter,
    read_split,
)
from maeum.errors import ConfigError, CorpusError, OutputError
from maeum.runs.recipe import Recipe
from maeum.types import Utterance


def utterance(id: str, part: str | None = None, speaker: str | None = None, label: str = "anger") -> Utterance:
    return Utterance(id=id, part=part, speaker=speaker, label=label)


def sizes(split: Split) -> Counter[str]:
    return Counter(split.parts.values())


#: Five sessions of two speakers, as in IEMOCAP; each dialogue is one recording.
SESSIONS = [
    Member(id=f"S{s}d{d}{x}{n}", speaker=f"S{s}{x}", dialogue=f"S{s}d{d}", recording=f"S{s}d{d}", session=f"S{s}")
    for s in range(1, 6)
    for d in range(3)
    for x in "FM"
    for n in range(4)
]


def test_official_parts_are_the_corpus_own() -> None:
    members = [Member("a", part="train"), Member("b", part="dev"), Member("c")]
    assert OfficialSplit().split(members).parts == {"a": "train", "b": "dev"}


def test_a_split_by_speaker_keeps_speakers_whole_and_shares_close() -> None:
    members = [Member(f"{s}-{i}", speaker=f"s{s}") for s in range(20) for i in range(5 + s % 3)]
    split = RandomSplit(dev_share=0.2, test_share=0.2, seed=3).split(members)
    parts_of = defaultdict(set)
    for member in members:
        parts_of[member.speaker].add(split.parts[member.id])
    assert all(len(parts) == 1 for parts in parts_of.values())
    shares = {part: count / len(members) for part, count in sizes(split).items()}
    assert shares == pytest.approx({"train": 0.6, "dev": 0.2, "test": 0.2}, abs=0.06)
    assert RandomSplit(dev_share=0.2, test_share=0.2, seed=3).split(members) == split
    assert RandomSplit(dev_share=0.2, test_share=0.2, seed=4).split(members).parts != split.parts
    assert split.seed == 3


def test_every_part_is_filled_even_with_few_speakers() -> None:
    members = [Member(str(i), speaker=f"s{i}") for i in range(3)]
    for seed in range(5):
        split = RandomSplit(dev_share=0.05, test_share=0.05, seed=seed).split(members)
        assert set(split.parts.values()) == {"train", "dev", "test"}


def test_a_split_by_utterance_has_the_sizes_that_were_asked_for() -> None:
    split = RandomSplit(by="utterance", dev_share=0.1, test_share=0.2).split(SESSIONS)
    assert sizes(split) == {"train": 84, "dev": 12, "test": 24}


def test_a_split_by_dialogue_keeps_dialogues_whole_and_shares_speakers() -> None:
    split = RandomSplit(by="dialogue", dev_share=0.2, test_share=0.2).split(SESSIONS)
    assert {overlap.kind for overlap in split.overlaps(SESSIONS)} == {"speaker"}


def test_speakers_who_share_a_dialogue_stay_together() -> None:
    split = RandomSplit(by="speaker", dev_share=0.2, test_share=0.2).split(SESSIONS)
    assert not split.overlaps(SESSIONS)
    assert sizes(split) == {"train": 72, "dev": 24, "test": 24}, "whole sessions"


def test_equal_recordings_stay_together_where_recordings_have_no_names() -> None:
    members = [Member(str(i), content=f"c{i // 4}") for i in range(40)]
    split = RandomSplit(by="recording", dev_share=0.2, test_share=0.2).split(members)
    assert not split.overlaps(members)


def test_groups_that_cannot_be_made_are_errors() -> None:
    with pytest.raises(CorpusError, match="x: has no speaker"):
        RandomSplit().split([Member("x")])
    with pytest.raises(CorpusError, match="x: has no dialogue"):
        RandomSplit(by="dialogue").split([Member("x", speaker="a", recording="r")])
    with pytest.raises(CorpusError, match="1 speaker cannot fill 3 parts"):
        RandomSplit().split([Member("x", speaker="a")])
    with pytest.raises(CorpusError, match=r"1 speaker cannot fill 3 parts \(what shares a dialogue or"):
        RandomSplit().split([Member(str(i), speaker=f"s{i}", dialogue="all") for i in range(9)])
    with pytest.raises(CorpusError, match="leave nothing for train"):
        RandomSplit(dev_share=0.5, test_share=0.5).split([Member("x", speaker="a")])


_few = st.integers(0, 5).map(str)
_members = st.lists(st.tuples(_few, st.none() | _few, st.none() | _few, st.none() | _few), min_size=1, max_size=60).map(
    lambda drawn: [
        Member(str(i), speaker=s, dialogue=d, recording=r, content=c) for i, (s, d, r, c) in enumerate(drawn)
    ]
)


def pairs_that_share(members: Sequence[Member], split: Split, fields: Sequence[str]) -> list[tuple[str, str]]:
    """The plain way: every two members in different parts, compared field by field."""
    return [
        (one.id, other.id)
        for n, one in enumerate(members)
        for other in members[:n]
        if split.parts[one.id] != split.parts[other.id]
        and any(getattr(one, f) is not None and getattr(one, f) == getattr(other, f) for f in fields)
    ]


@settings(max_examples=300, deadline=None)
@given(_members, st.integers(0, 3), st.sampled_from([(0.2, 0.2), (0.3, 0.0), (0.0, 0.4)]))
def test_no_split_by_speaker_ever_overlaps(members: list[Member], seed: int, shares: tuple[float, float]) -> None:
    members = [m for m in members if m.speaker is not None]
    try:
        split = RandomSplit(dev_share=shares[0], test_share=shares[1], seed=seed).split(members)
    except CorpusError as error:
        if "cannot fill" not in str(error):
            raise
        return
    assert split.overlaps(members) == ()
    assert pairs_that_share(members, split, ("speaker", "dialogue", "recording", "content")) == []
    assert len(split.parts) == len(members)


@settings(max_examples=200, deadline=None)
@given(_members, st.sampled_from(["dialogue", "recording"]))
def test_no_split_by_group_cuts_through_a_group(members: list[Member], by: str) -> None:
    members = [m for m in members if getattr(m, by) is not None]
    fields = ("dialogue", "recording", "content")[by == "recording" :]
    try:
        split = RandomSplit(by=by, dev_share=0.2, test_share=0.2).split(members)  # type: ignore[arg-type]
    except CorpusError as error:
        if "cannot fill" not in str(error):
            raise
        return
    assert pairs_that_share(members, split, fields) == []


@settings(max_examples=100, deadline=None)
@given(_members, st.integers(0, 3))
def test_what_is_shared_is_always_found(members: list[Member], seed: int) -> None:
    fields = ("speaker", "dialogue", "recording", "content")
    try:
        split = RandomSplit(by="utterance", dev_share=0.3, test_share=0.0, seed=seed).split(members)
    except CorpusError:
        return
    found = {overlap.kind: overlap.count for overlap in split.overlaps(members)}
    for field in fields:
        of = {part: {getattr(m, field) for m in members if split.parts[m.id] == part} - {None}
              for part in ("train", "dev")}  # fmt: skip
        assert found.get(field, 0) == len(of["train"] & of["dev"])  # type: ignore[call-overload]


class TestLeaveOneOut:
    def test_a_session_is_test_and_another_is_dev(self) -> None:
        split = LeaveOneOutSplit(test="S2").split(SESSIONS)
        sessions = defaultdict(set)
        for member in SESSIONS:
            sessions[split.parts[member.id]].add(member.session)
        assert sessions == {"test": {"S2"}, "dev": {"S3"}, "train": {"S1", "S4", "S5"}}
        assert not split.overlaps(SESSIONS)
        assert LeaveOneOutSplit(test="S5").split(SESSIONS).parts["S1d0F0"] == "dev"
        assert LeaveOneOutSplit(test="S5", dev="S2").split(SESSIONS).parts["S2d0F0"] == "dev"

    def test_a_speaker_left_out_of_dialogues_is_found_out(self) -> None:
        """The other one of the two still hears the dialogue in training."""
        split = LeaveOneOutSplit(by="speaker", test="S1F", dev="S4M").split(SESSIONS)
        assert {overlap.kind for overlap in split.overlaps(SESSIONS)} == {"dialogue", "recording"}

    def test_speakers_are_dealt_into_groups(self) -> None:
        members = [Member(f"{name}{i}", speaker=name) for name in "gfedcba" for i in range(2)]
        tested = []
        for test, dev in (("1", "2"), ("2", "3"), ("3", "1")):
            parts = LeaveOneOutSplit(by="speaker", groups=3, test=test).split(members).parts
            of = {part: {m.speaker for m in members if parts[m.id] == part} for part in ("train", "dev", "test")}
            assert of["dev"] == set({"1": "adg", "2": "be", "3": "cf"}[dev])
            assert of["train"] == set("abcdefg") - of["dev"] - of["test"]
            tested += sorted(of["test"])
        assert tested == list("adgbecf")
        with pytest.raises(CorpusError, match=r"there is no group of speakers '4'\. There are 1, 2, 3"):
            LeaveOneOutSplit(by="speaker", groups=3, test="4").split(members)
        with pytest.raises(CorpusError, match="7 speakers cannot fill 8 groups"):
            LeaveOneOutSplit(by="speaker", groups=8, test="1").split(members)

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"test": "S9"}, r"there is no session 'S9'. There are S1, S2"),
            ({"test": "S1", "dev": "S7"}, "there is no session 'S7'"),
            ({"test": "S1", "dev": "S1"}, "is to be dev and test"),
        ],
    )
    def test_wrong_groups_are_errors(self, options: dict[str, str], problem: str) -> None:
        with pytest.raises(CorpusError, match=problem):
            LeaveOneOutSplit(**options).split(SESSIONS)  # type: ignore[arg-type]

    def test_groups_that_are_not_there_are_errors(self) -> None:
        with pytest.raises(CorpusError, match="x: has no session"):
            LeaveOneOutSplit(test="S1").split([Member("x")])
        with pytest.raises(CorpusError, match="Leave out by: speaker"):
            LeaveOneOutSplit(test="S1").split([Member("x", speaker="a")])
        with pytest.raises(CorpusError, match="2 speakers cannot fill train, dev and test"):
            LeaveOneOutSplit(by="speaker", test="a").split([Member("x", speaker="a"), Member("y", speaker="b")])


class TestLists:
    def write(self, folder: Path, **lists: str) -> Path:
        folder.mkdir(exist_ok=True)
        for part, ids in lists.items():
            (folder / f"{part}.txt").write_text(ids, encoding="utf-8")
        return folder

    def test_ids_of_utterances_dialogues_and_recordings(self, tmp_path: Path) -> None:
        members = [
            Member("u1", dialogue="d1"), Member("u2", dialogue="d1"), Member("u3", recording="v1"),
            Member("u4", recording="v1"), Member("u5"), Member("u6"),
        ]  # fmt: skip
        folder = self.write(tmp_path / "l", train="\ufeffd1\r\nnobody\n\n", dev=" v1 \n", test="u5\nu5\n")
        split = ListsSplit(folder=folder).split(members)
        assert split.parts == {"u1": "train", "u2": "train", "u3": "dev", "u4": "dev", "u5": "test"}
        assert split.notes == (
            "1 listed id matches nothing, such as nobody (train)",
            "1 utterance is in no list, such as u6",
        )

    def test_notes_name_the_first_of_several(self, tmp_path: Path) -> None:
        members = [Member(f"u{number}") for number in range(6)]
        split = ListsSplit(folder=self.write(tmp_path / "l", train="u0\n", dev="u1\na\n", test="b\n")).split(members)
        assert split.notes == (
            "2 listed ids match nothing, such as a (dev), b (test)",
            "4 utterances are in no list, such as u2, u3, u4",
        )

    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        split = LeaveOneOutSplit(test="S2").split(SESSIONS)
        assert [path.name for path in split.write(tmp_path)] == ["train.txt", "dev.txt", "test.txt"]
        assert ListsSplit(folder=tmp_path).split(SESSIONS).parts == split.parts

    def test_a_file_in_the_place_of_the_folder_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "lists").touch()
        with pytest.raises(OutputError, match=r"lists: cannot be written: File exists"):
            LeaveOneOutSplit(test="S2").split(SESSIONS).write(tmp_path / "lists")

    def test_lists_that_contradict_each_other_are_refused(self, tmp_path: Path) -> None:
        members = [Member("u1", dialogue="d1"), Member("u2", dialogue="d1")]
        folder = self.write(tmp_path, train="d1", test="u2")
        with pytest.raises(CorpusError, match=r"u2 is in train and in test \(u2\)"):
            ListsSplit(folder=folder).split(members)

    def test_lists_of_something_else_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CorpusError, match=r"none of its 1 id matches .* such as u1"):
            ListsSplit(folder=self.write(tmp_path / "a", train="x")).split([Member("u1")])
        with pytest.raises(CorpusError, match=r"more\.txt is the list of no part\. Name the lists train\.txt"):
            ListsSplit(folder=self.write(tmp_path / "b", more="u1")).split([Member("u1")])
        assert ListsSplit(folder=self.write(tmp_path / "c", valid="u1")).split([Member("u1")]).parts == {"u1": "dev"}
        with pytest.raises(CorpusError, match=r"valid\.txt is a second list of dev"):
            ListsSplit(folder=self.write(tmp_path / "d", valid="u1", dev="u2")).split([Member("u1")])
        for folder in (tmp_path / "none", tmp_path):
            with pytest.raises(CorpusError, match="holds no lists"):
                ListsSplit(folder=folder).split([Member("u1")])


def test_a_split_is_read_as_it_is_typed(tmp_path: Path) -> None:
    assert read_split("official") == OfficialSplit()
    assert read_split("{kind: random, by: dialogue, seed: 2}") == RandomSplit(by="dialogue", seed=2)
    assert read_split(str(tmp_path)) == ListsSplit(folder=tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsplit: {kind: leave-one-out, test: S1}\n")
    assert read_split(str(recipe)) == LeaveOneOutSplit(test="S1")
    with pytest.raises(ConfigError, match="nothing: names no split"):
        read_split("nothing")
    with pytest.raises(ConfigError, match="kind"):
        read_split("{kind: magic}")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_split("{kind: ")


def test_a_kind_of_split_that_a_package_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    class EveryThird(Splitter):
        """Every third utterance is test, the one before it dev."""

        kind: Literal["every-third"] = "every-third"
        first: int = 0

        def split(self, members: Sequence[Member]) -> Split:
            """See `Splitter`."""
            parts = ("train", "dev", "test")
            return Split("every third", {m.id: parts[(i + self.first) % 3] for i, m in enumerate(members)})

    monkeypatch.setitem(SPLITS._table, "every-third", EveryThird)
    data = {"name": "x", "train": [], "dev": [], "split": {"kind": "every-third", "first": 1}}
    recipe = Recipe.parse(data)
    assert recipe.split == EveryThird(first=1)
    assert Recipe.parse(recipe.model_dump(mode="json")) == recipe
    assert read_split("{kind: every-third}") == EveryThird()
    assert recipe.split.split([Member("a"), Member("b")]).parts == {"a": "dev", "b": "test"}
    assert "every-third" in json.dumps(Recipe.model_json_schema())


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"kind": "randon"}, r"split: unknown kind of split 'randon'\. Did you mean 'random'\?"),
        ({"kind": "random", "sede": 1}, r"split: unknown setting 'sede' \(did you mean seed\?\)"),
        ({"kind": "random", "dev_share": 2}, r"split: dev_share = 2: Input should be less than 1"),
        ({"by": "speaker"}, r"split: a split needs its kind, one of leave-one-out, lists, official, random"),
        (3, r"split: a split needs its kind"),
    ],
)
def test_a_split_that_cannot_be_is_named_with_the_right_one(split: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.parse({"name": "x", "train": [], "dev": [], "split": split})


def test_a_recipe_says_a_split_as_the_command_line_does(tmp_path: Path):
    data = {"name": "x", "train": [], "dev": []}
    assert Recipe.parse({**data, "split": "official"}).split == OfficialSplit()
    (tmp_path / "lists").mkdir()
    assert Recipe.parse({**data, "split": str(tmp_path / "lists")}).split == ListsSplit(folder=tmp_path / "lists")
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"says nothing of a split. Add split: {kind: random"):
        read_split(str(path))


def test_a_missing_setting_is_named_without_all_the_others():
    with pytest.raises(ConfigError) as caught:
        Recipe.parse({"name": "x" * 500, "train": []})
    assert str(caught.value) == "the setting 'dev' is missing"
    with pytest.raises(ConfigError, match="test_share") as caught:
        RandomSplit.parse({"test_share": "x" * 500})
    assert len(str(caught.value)) < 200
