"""Splits: which utterance of a corpus is in which part. Chosen in recipes, and applied to a store when it is read."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo
from pydantic_core import core_schema

from maeum.config import MOST_SEED, Config
from maeum.corpora.base import PARTS
from maeum.corpora.overlaps import Kind, Member, Overlap, keys_of, overlaps
from maeum.corpora.tables import read_text
from maeum.errors import ConfigError, CorpusError, OutputError
from maeum.files import write_error, write_whole
from maeum.registry import Registry
from maeum.settings_text import parse_yaml
from maeum.wording import counted

#: What a grouped split can keep whole. Whatever keeps one of them whole keeps those after it whole, too.
_WHOLE: tuple[Kind, ...] = ("speaker", "dialogue", "recording", "content", "utterance")


#: What a part is called -> the part.
PART_NAMES = {**{part: part for part in PARTS}, "valid": "dev", "val": "dev", "validation": "dev"}


@dataclass(frozen=True)
class Split:
    """Which utterance is in which part.

    parts: utterance -> train, dev or test; those that are missing are in none. seed: of one that was drawn. notes:
    what its maker has to know, such as ids of a list that match nothing.
    """

    name: str
    parts: Mapping[str, str]
    seed: int | None = None
    notes: tuple[str, ...] = ()

    def members(self, members: Iterable[Member]) -> dict[str, list[Member]]:
        """The members of each part that has any, in the order of `PARTS`."""
        found: dict[str, list[Member]] = {part: [] for part in PARTS}
        for member in members:
            part = self.parts.get(member.id)
            if part is not None:
                found[part].append(member)
        return {part: those for part, those in found.items() if those}

    def format_sizes(self, members: Iterable[Member]) -> str:
        """``random by speaker, seed 0: 659 train, 240 dev, 240 test``."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        sizes = ", ".join(f"{len(those):,} {part}" for part, those in self.members(members).items())
        return f"{self.name}{seed}: {sizes or 'no parts'}"

    def overlaps(self, members: Iterable[Member]) -> tuple[Overlap, ...]:
        """What its parts share; see `maeum.corpora.overlaps`."""
        return overlaps({part: keys_of(those) for part, those in self.members(members).items()})

    def write(self, folder: Path | str) -> list[Path]:
        """Write it as lists (``train.txt``, ...) that `ListsSplit` reads; returns the files. Raises OutputError."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error, OutputError) from error
        written = []
        for part in PARTS:
            ids = [id for id, in_part in self.parts.items() if in_part == part]
            if ids:
                path = folder / f"{part}.txt"
                write_whole(path, "".join(f"{id}\n" for id in ids))
                written.append(path)
        return written


class Splitter(Config):
    """A way to divide a corpus: its fields are the settings of the split.

    A package adds one with a class and an entry point of the group ``maeum.splits``, named like its ``kind``::

        class EveryThird(Splitter):
            '''Every third utterance is test, the one before it dev.'''

            kind: Literal["every-third"] = "every-third"

            def split(self, members: Sequence[Member]) -> Split:
                parts = ("train", "dev", "test")
                return Split("every third", {m.id: parts[i % 3] for i, m in enumerate(members)})

    Recipes then take ``split: {kind: every-third}``. That parts share no speaker is checked wherever a split is used.
    """

    kind: str

    @classmethod
    def kinds(cls) -> tuple[type[Config], ...]:
        """All kinds of `SPLITS`."""
        return tuple(SPLITS[name] for name in SPLITS) if cls is Splitter else ()

    @abstractmethod
    def split(self, members: Sequence[Member]) -> Split:
        """Divide these members; raises CorpusError where that cannot be done."""


#: Kinds of split by name; packages add theirs through the entry-point group ``maeum.splits``.
SPLITS: Registry[type[Splitter]] = Registry("kind of split", "maeum.splits")


@SPLITS.register("official")
class OfficialSplit(Splitter):
    """The parts that the corpus itself gives."""

    kind: Literal["official"] = "official"

    def split(self, members: Sequence[Member]) -> Split:
        """See `Splitter`."""
        return Split("official", {m.id: m.part for m in members if m.part is not None})


@SPLITS.register("lists")
class ListsSplit(Splitter):
    """Published lists: a folder with ``train.txt``, ``dev.txt`` (or ``valid.txt``), ``test.txt``, an id a line.

    An id is that of an utterance, else of a dialogue, else of a recording, all of whose utterances are meant.
    """

    kind: Literal["lists"] = "lists"
    folder: Path
    """Folder of the lists."""

    def split(self, members: Sequence[Member]) -> Split:
        """See `Splitter`.

        Raises:
            CorpusError: when there is no list, an utterance is in two of them, or no id matches.
        """
        named: tuple[dict[str, list[str]], ...] = (defaultdict(list), defaultdict(list), defaultdict(list))
        for member in members:
            for names, name in zip(named, (member.id, member.dialogue, member.recording), strict=True):
                if name is not None:
                    names[name].append(member.id)
        parts: dict[str, str] = {}
        strangers: list[str] = []
        for part, ids in self._lists().items():
            for id in ids:
                matched = next((names[id] for names in named if id in names), [])
                if not matched:
                    strangers.append(f"{id} ({part})")
                for utterance in matched:
                    if parts.setdefault(utterance, part) != part:
                        raise CorpusError(f"{utterance} is in {parts[utterance]} and in {part} ({id})",
                                          item=self.folder, remedy="Take it out of one of the lists.")  # fmt: skip
        if not parts:
            raise CorpusError(
                f"none of its {counted(len(strangers), 'id')} matches an utterance, a dialogue or a recording of the "
                f"store, such as {members[0].id}",
                item=self.folder,
            )
        unlisted = [m.id for m in members if m.id not in parts]
        notes = (
            format_unmatched(strangers, "listed id", "matches nothing", "match nothing"),
            format_unmatched(unlisted, "utterance", "is in no list", "are in no list"),
        )
        return Split(f"lists of {self.folder}", parts, notes=tuple(filter(None, notes)))

    def _lists(self) -> dict[str, list[str]]:
        files = sorted(self.folder.glob("*.txt")) if self.folder.is_dir() else []
        remedy = f"Name the lists {', '.join(f'{part}.txt' for part in PARTS)}."
        if not files:
            raise CorpusError("holds no lists", item=self.folder, remedy=remedy)
        lists: dict[str, list[str]] = {}
        for path in files:
            part = listed_part(path)
            if part is None or part in lists:
                what = "is the list of no part" if part is None else f"is a second list of {part}"
                raise CorpusError(f"{path.name} {what}", item=self.folder, remedy=remedy)
            lists[part] = read_ids(path)
        return {part: lists[part] for part in PARTS if part in lists}


@SPLITS.register("leave-one-out")
class LeaveOneOutSplit(Splitter):
    """One fold of a cross-validation: a session (or speaker) is test, another is dev, all others are train.

    With ``groups`` a fold is a group of sessions (speakers).
    """

    kind: Literal["leave-one-out"] = "leave-one-out"
    by: Literal["session", "speaker"] = "session"
    """What is left out."""
    groups: int | None = Field(default=None, ge=3, le=1000)
    """Deal the sessions (speakers), in the order of their names, into so many groups, ``1`` and on, of which one is
    left out; when null each is left out by itself. Every corpus is dealt by itself. Names may follow a pattern: actors
    of RAVDESS with odd numbers are men, so that an even number of groups has men and women apart."""
    test: str
    """Name of the session (speaker, group) that is test."""
    dev: str | None = None
    """Name of the one that is dev; when null, the one that follows ``test`` in the order of their names (the first
    follows the last)."""

    def split(self, members: Sequence[Member]) -> Split:
        """See `Splitter`.

        Raises:
            CorpusError: when an utterance has no session (speaker), there are fewer than three, or one is unknown.
        """
        group_of: dict[str, str] = {}
        for member in members:
            group = member.session if self.by == "session" else member.speaker
            if group is None:
                other = {"session": "speaker", "speaker": "session"}[self.by]
                has = getattr(member, other) is not None
                raise CorpusError(f"has no {self.by}, so none can be left out", item=member.id,
                                  remedy=f"Leave out by: {other}." if has else None)  # fmt: skip
            group_of[member.id] = group
        groups = sorted(set(group_of.values()))
        kind: str = self.by
        if self.groups is not None:
            if len(groups) < self.groups:
                raise CorpusError(f"{counted(len(groups), self.by)} cannot fill {self.groups} groups")
            dealt = {name: str(number % self.groups + 1) for number, name in enumerate(groups)}
            group_of = {id: dealt[name] for id, name in group_of.items()}
            kind, groups = f"group of {self.by}s", [str(number + 1) for number in range(self.groups)]
        if len(groups) < 3:
            raise CorpusError(f"{counted(len(groups), self.by)} cannot fill train, dev and test")
        for group in (self.test, self.dev):
            if group is not None and group not in groups:
                raise CorpusError(f"there is no {kind} {group!r}", remedy=f"There are {', '.join(groups)}.")
        if self.dev == self.test:
            raise CorpusError(f"the {kind} {self.dev!r} is to be dev and test", remedy="Choose two.")
        dev = self.dev or groups[(groups.index(self.test) + 1) % len(groups)]
        part_of = {**dict.fromkeys(groups, "train"), dev: "dev", self.test: "test"}
        name = f"leave one {kind} out: dev {dev}, test {self.test}"
        return Split(name, {id: part_of[group] for id, group in group_of.items()})


@SPLITS.register("random")
class RandomSplit(Splitter):
    """Groups are shuffled by seed and given, whole, to the part that lacks most of its share of utterances."""

    kind: Literal["random"] = "random"
    by: Literal["speaker", "dialogue", "recording", "utterance"] = "speaker"
    """What stays in one part. ``speaker`` keeps dialogues, recordings and equal contents whole, too, so that groups
    that share one count as one group; ``dialogue`` all but speakers; ``recording`` it and equal contents;
    ``utterance`` nothing, which only shows what such a split does to scores."""
    dev_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the utterances that dev gets."""
    test_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the utterances that test gets; train gets the rest."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Seed of the shuffle."""

    def split(self, members: Sequence[Member]) -> Split:
        """See `Splitter`.

        Raises:
            CorpusError: when an utterance has no such group, the shares leave nothing for train, or there are fewer
                groups than parts.
        """
        shares = {"train": 1.0 - self.dev_share - self.test_share, "dev": self.dev_share, "test": self.test_share}
        wanted = [part for part in PARTS if shares[part] > 1e-9]
        if "train" not in wanted:
            raise CorpusError(f"dev_share {self.dev_share} and test_share {self.test_share} leave nothing for train")
        group_of = self._groups(members)
        sizes = Counter(group_of.values())
        groups = sorted(sizes)
        if len(groups) < len(wanted):
            linked = f" (what shares a {' or a '.join(_WHOLE[_WHOLE.index(self.by) + 1 : -1])} counts as one)"
            raise CorpusError(f"{counted(len(groups), self.by)} cannot fill {counted(len(wanted), 'part')}{linked}",
                              remedy="Use fewer parts, or another split.")  # fmt: skip
        np.random.default_rng(self.seed).shuffle(groups)
        lacks = {part: shares[part] * len(members) for part in wanted}
        empty = list(wanted)
        part_of: dict[str, str] = {}
        for position, group in enumerate(groups):
            choices = empty if len(empty) >= len(groups) - position else wanted
            part = max(choices, key=lacks.__getitem__)
            part_of[group] = part
            lacks[part] -= sizes[group]
            if part in empty:
                empty.remove(part)
        return Split(f"random by {self.by}", {id: part_of[group] for id, group in group_of.items()}, self.seed)

    def _groups(self, members: Sequence[Member]) -> dict[str, str]:
        """Utterance -> its group, named by the first of what it holds."""
        if self.by == "utterance":
            return {m.id: m.id for m in members}
        leader: dict[tuple[Kind, str], tuple[Kind, str]] = {}

        def find(key: tuple[Kind, str]) -> tuple[Kind, str]:
            root = key
            while leader[root] != root:
                root = leader[root]
            while leader[key] != root:
                leader[key], key = root, leader[key]
            return root

        first: dict[str, tuple[Kind, str]] = {}
        for member in members:
            keys = [(kind, key) for kind in _WHOLE[_WHOLE.index(self.by) :] for key in member.keys(kind)]
            if keys[0][0] != self.by and not (self.by == "recording" and keys[0][0] == "content"):
                raise CorpusError(f"has no {self.by}, so parts cannot be divided by {self.by}", item=member.id)
            for key in keys:
                leader.setdefault(key, key)
            one = first[member.id] = find(keys[0])
            for key in keys[1:]:
                one, other = sorted((one, find(key)), key=lambda k: (_WHOLE.index(k[0]), k[1]))
                leader[other] = one
        return {id: find(key)[1] for id, key in first.items()}


class _OneOfTable:
    """Makes pydantic read a setting as one of `SPLITS`, chosen by its ``kind`` when it is read."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        serialized = core_schema.plain_serializer_function_ser_schema(_plain, info_arg=True)
        return core_schema.no_info_plain_validator_function(_chosen, serialization=serialized)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        kinds = [handler(SPLITS[name].__pydantic_core_schema__) for name in SPLITS]
        return {"oneOf": kinds, "discriminator": {"propertyName": "kind"}}


def _chosen(value: object) -> Splitter:
    """A split from its settings; ``official`` and a folder of lists may be given as they are on the command line."""
    if isinstance(value, Splitter):
        return value
    if isinstance(value, str):
        value = {"kind": "official"} if value == "official" else {"kind": "lists", "folder": value}
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise ValueError(f"a split needs its kind, one of {', '.join(SPLITS)}, such as {{kind: random, by: speaker}}")
    try:
        return SPLITS[value["kind"]].parse(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def _plain(split: Splitter, info: SerializationInfo) -> dict[str, Any]:
    return split.model_dump(
        mode=info.mode,
        exclude_unset=info.exclude_unset,
        exclude_defaults=info.exclude_defaults,
        exclude_none=info.exclude_none,
    )


#: Type of a setting that holds a split.
SplitConfig = Annotated[Splitter, _OneOfTable]


class _Named(Config):
    """A file that names a split, such as a recipe; its other settings are ignored."""

    model_config = ConfigDict(extra="ignore")

    split: SplitConfig | None = None
    """The split; none is named when null."""


class _Given(Config):
    """A split by itself, so that it is checked as one in a recipe."""

    split: SplitConfig
    """The split."""


def read_split(text: str) -> SplitConfig:
    """A split as it is given on the command line.

    Args:
        text: ``official``; a folder of lists; a YAML or JSON file with the key ``split``, such as a recipe; or the
            settings themselves, such as ``{kind: random, by: speaker, seed: 1}``.

    Raises:
        ConfigError: when it is none of them, or a setting is wrong.
    """
    if text == "official":
        return OfficialSplit()
    if text.lstrip().startswith("{"):
        return _Given.parse({"split": parse_yaml(text, item=text)}, item=text).split
    path = Path(text)
    if path.is_dir():
        return ListsSplit(folder=path)
    if path.is_file():
        named = _Named.load(path).split
        if named is None:
            raise ConfigError("says nothing of a split", item=path,
                              remedy="Add split: {kind: random, by: speaker} to it, or give official.")  # fmt: skip
        return named
    raise ConfigError("names no split: there is no such file or folder", item=text,
                      remedy="Give official, a folder of lists, a recipe, or {kind: random, by: speaker}.")  # fmt: skip


def listed_part(path: Path) -> str | None:
    """The part that a file's name says it lists: ``valid.txt``, ``train_split.txt``, ``test-ids.txt``; else None."""
    found = {PART_NAMES[word] for word in re.split(r"[^a-z]+", path.stem.lower()) if word in PART_NAMES}
    return found.pop() if len(found) == 1 else None


def read_ids(path: Path) -> list[str]:
    """The ids of a list, one a line, quotes and commas around them taken off; each once. Raises CorpusError."""
    lines = (line.strip(" \t\r'\",") for line in read_text(path).split("\n"))
    return list(dict.fromkeys(filter(None, lines)))


def format_unmatched(ids: Sequence[str], noun: str, one: str, many: str) -> str:
    """``2 utterances are in no list, such as a, b``; empty for none.

    Args:
        ids: all of them; the first three are named.
        noun: what they are, in the singular.
        one: the words after the count of one id.
        many: the words after the count of several.
    """
    if not ids:
        return ""
    return f"{counted(len(ids), noun)} {one if len(ids) == 1 else many}, such as {', '.join(ids[:3])}"
