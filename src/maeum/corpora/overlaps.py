"""What the parts of a corpus share: people, conversations, recordings. Scores of parts that share them mislead."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from maeum.errors import CorpusError
from maeum.types import Utterance

Kind = Literal["utterance", "speaker", "dialogue", "recording", "content"]

#: What parts may share, and its plural. ``content``: equal bytes (or words, where words are all there is).
KINDS: Mapping[Kind, str] = {
    "utterance": "utterances",
    "speaker": "speakers",
    "dialogue": "dialogues",
    "recording": "recordings",
    "content": "equal contents",
}

#: Kind -> key -> its name and the first utterance that has it, both for messages.
Keys = Mapping[Kind, Mapping[str, tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Member:
    """What decides with whom an utterance may share a part.

    corpus: its name; dialogues and recordings of different corpora are different. part: the official one. content:
    hash of its files or its text. composed_of: for a composed item, the ids (``corpus:id``) of its sources. labels: its
    own names, for tables.
    """

    id: str
    corpus: str = ""
    part: str | None = None
    speaker: str | None = None
    dialogue: str | None = None
    recording: str | None = None
    session: str | None = None
    content: str | None = None
    composed_of: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, utterance: Utterance, corpus: str = "", content: str | None = None) -> Member:
        """The member that an utterance of a corpus is."""
        label = utterance.label
        return cls(
            id=utterance.id,
            corpus=corpus,
            part=utterance.part,
            speaker=utterance.speaker,
            dialogue=utterance.dialogue,
            recording=None if utterance.recording is None else utterance.recording.id,
            session=utterance.session,
            content=content,
            labels=(label,) if isinstance(label, str) else tuple(label) if isinstance(label, tuple) else (),
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Ids of the utterances it consists of: its own, or those that it was composed of."""
        return self.composed_of or (f"{self.corpus}:{self.id}",)

    def keys(self, kind: Kind) -> tuple[str, ...]:
        """Two members that have a key in common share something of that kind; none where it is not known."""
        if kind == "utterance":
            return self.sources
        if kind == "dialogue":
            return () if self.dialogue is None else (f"{self.corpus}:{self.dialogue}",)
        if kind == "recording":
            return () if self.recording is None else (f"{self.corpus}:{self.recording}",)
        value = self.speaker if kind == "speaker" else self.content
        return () if value is None else (value,)


@dataclass(frozen=True)
class Overlap:
    """How many of a kind two parts share, and some of them as texts."""

    kind: Kind
    parts: tuple[str, str]
    count: int
    examples: tuple[str, ...] = ()


def keys_of(members: Iterable[Member]) -> dict[Kind, dict[str, tuple[str, str]]]:
    """All keys of some members, each with the first member that has it."""
    keys: dict[Kind, dict[str, tuple[str, str]]] = {kind: {} for kind in KINDS}
    for member in members:
        for kind in KINDS:
            for key in member.keys(kind):
                if key not in keys[kind]:
                    keys[kind][key] = key, member.id
    return keys


def overlaps(parts: Mapping[str, Keys]) -> tuple[Overlap, ...]:
    """What each two parts share, in the order of the parts and of `KINDS`; empty for an honest split.

    Args:
        parts: part -> its keys. What is not known of a part is not compared.
    """
    found = []
    for one, other in combinations(parts, 2):
        for kind in KINDS:
            mine, theirs = parts[one].get(kind, {}), parts[other].get(kind, {})
            if shared := mine.keys() & theirs.keys():
                both = heapq.nsmallest(3, ((mine[key][0] or theirs[key][0], key) for key in shared))
                examples = tuple(_example(kind, mine[key], theirs[key]) for _, key in both)
                found.append(Overlap(kind, (one, other), len(shared), examples))
    return tuple(found)


def format_overlaps(found: Sequence[Overlap]) -> tuple[str, ...]:
    """``20 speakers, 3 recordings shared by train and dev``, one for each two parts."""
    counts: dict[tuple[str, str], list[str]] = {}
    for overlap in found:
        name = KINDS[overlap.kind] if overlap.count != 1 else KINDS[overlap.kind].removesuffix("s")
        counts.setdefault(overlap.parts, []).append(f"{overlap.count} {name}")
    return tuple(f"{', '.join(names)} shared by {one} and {other}" for (one, other), names in counts.items())


def refuse(found: Sequence[Overlap], *, allow: bool) -> tuple[str, ...]:
    """Let parts through only if they share nothing, or if that is allowed.

    Returns:
        The overlap (`format_overlaps`), which every score made with these parts has to carry (`format_allowed`).

    Raises:
        CorpusError: naming what is shared, unless that is allowed.
    """
    shared = format_overlaps(found)
    if shared and not allow:
        raise CorpusError(
            f"the parts overlap: {'; '.join(shared)} (such as {found[0].examples[0]})",
            remedy="Choose another split (such as {kind: random, by: speaker}), or allow it (allow_overlap: true in a "
            "recipe, --allow-overlap where models are scored); every score then says so.",
        )
    return shared


def format_allowed(shared: Sequence[str]) -> str:
    """``overlap allowed: 20 speakers shared by train and dev``; empty without an overlap."""
    return f"overlap allowed: {'; '.join(shared)}" if shared else ""


def _example(kind: Kind, one: tuple[str, str], other: tuple[str, str]) -> str:
    """``speaker Ann: u1 and u2``; one side may not know the names."""
    name = one[0] or other[0]
    ids = " and ".join(dict.fromkeys(filter(None, (one[1], other[1]))))
    return ids if kind == "content" else name if kind == "utterance" else f"{kind} {name}: {ids}"
