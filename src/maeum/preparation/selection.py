"""Which items of a corpus are decoded: the limit, repeats of the same content, and the hashes that tell them apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from maeum.corpora.base import PARTS, Corpus, LeftOut
from maeum.data.shards import digest
from maeum.errors import CorpusError
from maeum.preparation.items import content_hash
from maeum.types import Recording, Utterance


@dataclass(frozen=True)
class Selection:
    """The utterances to decode, and what is left out before anything is decoded."""

    utterances: tuple[Utterance, ...]
    left_out: tuple[LeftOut, ...]
    content: Mapping[str, str]
    """Utterance id -> hash of the files, times and text that its arrays are decoded from."""
    recordings: Mapping[str, str]
    """Utterance id -> hash by which equal recordings are recognised; of its text, where a corpus goes by that."""
    beyond_limit: Mapping[str, int]
    """Part -> items that the limit leaves unread."""


def select(corpus: Corpus, source: Path, limit: int | None, begin: Callable[[int], Callable[[], None]]) -> Selection:
    """Read the corpus' items, hash their files, and leave out repeats as the corpus' ``identity`` says.

    Args:
        corpus: whose items.
        source: where it is.
        limit: at most so many items of each part, see `spread`.
        begin: told how many items will be hashed; gives what is called after each.

    Raises:
        CorpusError: when an id is used twice, a file cannot be read, or nothing is left.
    """
    left_out: list[LeftOut] = []
    utterances: list[Utterance] = []
    for item in corpus.items(source):
        if isinstance(item, LeftOut):
            left_out.append(item)
        else:
            utterances.append(item)
    beyond: dict[str, int] = {}
    if limit is not None:
        sizes = Counter(u.part or "none" for u in utterances)
        beyond = {part: count - limit for part, count in sizes.items() if count > limit}
        utterances = spread(utterances, limit)
    if twice := [a for a, b in pairwise(sorted(u.id for u in utterances)) if a == b]:
        raise CorpusError(f"the id {twice[0]!r} is used twice", item=source)
    content, recordings = _hashes(utterances, begin(len(utterances)))
    repeated: dict[str, str] = {}
    if corpus.identity == "media":
        repeated = repeats(utterances, recordings)
    elif corpus.identity == "text":
        repeated = repeats(utterances, content)
        recordings = content
    elif corpus.identity == "clip":
        utterances = _one_part_each(utterances, recordings)
        for utterance in utterances:
            if utterance.recording is None and utterance.id in recordings:
                del recordings[utterance.id]
                content[utterance.id] = digest(_normalised_text(utterance))
    left_out += [LeftOut(u.id, repeated[u.id], u.part) for u in utterances if u.id in repeated]
    utterances = [u for u in utterances if u.id not in repeated]
    if not utterances:
        reason = f"; first reason: {left_out[0].reason}" if left_out else ""
        raise CorpusError(f"holds nothing that can be used{reason}", item=source)
    return Selection(tuple(utterances), tuple(left_out), content, recordings, beyond)


def _hashes(utterances: Sequence[Utterance], advance: Callable[[], None]) -> tuple[dict[str, str], dict[str, str]]:
    """Of each utterance: the hash of what it is decoded from; and the hash of its recording, where it has one."""
    content: dict[str, str] = {}
    files: dict[Path, str] = {}
    recordings: dict[str, str] = {}
    for utterance in utterances:
        advance()
        recording, hashes = utterance.recording, []
        for path in dict.fromkeys(p for p in (recording.video, recording.audio) if p is not None) if recording else ():
            if path not in files:
                files[path] = content_hash(path)
            hashes.append(files[path])
        if hashes:
            recordings[utterance.id] = hashes[0]
        text = _normalised_text(utterance)
        stretch = [utterance.start_s, utterance.end_s, text, *_used_of_files(recording)]
        content[utterance.id] = digest(hashes, *stretch) if hashes else digest(text)
    return content, recordings


def _normalised_text(utterance: Utterance) -> str:
    """What an utterance says, without capitals and surplus spaces."""
    return " ".join((utterance.text or "").lower().split())


def repeats(utterances: Sequence[Utterance], content: Mapping[str, str]) -> dict[str, str]:
    """Utterances that have to go so that parts share no item and train holds each once.

    What is in several parts stays in the last of train, dev, test. Inside dev and test its copies all stay,
    so that official parts keep their size and scores stay comparable; inside train (and among utterances without a
    part) the first stays, unless its copies carry different labels: then none can be trusted.

    Args:
        utterances: in the corpus' order.
        content: utterance id -> hash of its content.

    Returns:
        Utterance id -> reason it is left out.
    """
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        if utterance.id in content:
            groups[content[utterance.id]].append(utterance)
    reasons: dict[str, str] = {}
    rank = {part: number for number, part in enumerate(PARTS)}
    for group in groups.values():
        if len(group) < 2:
            continue
        last = max((rank[u.part] for u in group if u.part is not None), default=0)
        keep = [u for u in group if rank.get(u.part or "train", 0) == last]
        for utterance in group:
            if utterance not in keep:
                reasons[utterance.id] = f"the same as {keep[0].id} in {keep[0].part}"
        if last:
            continue
        if len({str(u.label) for u in keep}) > 1:
            labels = ", ".join(sorted({str(u.label) for u in keep}))
            reasons.update({u.id: f"copies of the same item carry different labels: {labels}" for u in keep})
        else:
            reasons.update({u.id: f"the same as {keep[0].id}" for u in keep[1:]})
    return reasons


def spread(utterances: Sequence[Utterance], limit: int) -> list[Utterance]:
    """Choose so many utterances of each part: one of each label first, then labels as often as in the part.

    Those of a label are evenly spaced, so that they are not all of the speaker who comes first; the order stays.
    """
    parts: dict[str | None, dict[str | tuple[str, ...] | None, list[int]]] = {}
    for number, utterance in enumerate(utterances):
        label = utterance.label if isinstance(utterance.label, str | tuple) else None
        parts.setdefault(utterance.part, {}).setdefault(label, []).append(number)
    chosen = []
    for labels in parts.values():
        counts = dict.fromkeys(labels, 0)
        for _ in range(min(limit, sum(map(len, labels.values())))):
            shares = {label: counts[label] / len(numbers) for label, numbers in labels.items()}
            counts[min(shares, key=shares.__getitem__)] += 1
        for label, numbers in labels.items():
            chosen += [numbers[(2 * i + 1) * len(numbers) // (2 * counts[label])] for i in range(counts[label])]
    return [utterances[number] for number in sorted(chosen)]


def _one_part_each(utterances: Sequence[Utterance], recordings: Mapping[str, str]) -> list[Utterance]:
    """The utterances; those whose file a later part has too keep their words alone."""
    last: dict[str, Utterance] = {}
    for utterance in utterances:
        if (key := recordings.get(utterance.id)) is not None:
            known = last.setdefault(key, utterance)
            if PARTS.index(utterance.part or "train") > PARTS.index(known.part or "train"):
                last[key] = utterance
    out = []
    for utterance in utterances:
        other = last.get(recordings.get(utterance.id, ""), utterance)
        if other.part != utterance.part:
            note = f"no clip: its file is the same as that of {other.id}"
            utterance = replace(utterance, recording=None, start_s=0.0, end_s=None, notes=(*utterance.notes, note))
        out.append(utterance)
    return out


def _used_of_files(recording: Recording | None) -> list[object]:
    """Which picture area, channel and offset of its files a recording uses; nothing where it is all of them."""
    if recording is None:
        return []
    used = [recording.crop, recording.channel, recording.audio_starts_s or None]
    return [] if used == [None, None, None] else list(used)
