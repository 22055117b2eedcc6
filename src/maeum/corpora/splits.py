"""Parts of a corpus: divided by speaker, and proven disjoint."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from maeum.corpora.base import PARTS
from maeum.errors import CorpusError
from maeum.types import Utterance


def by_speaker(utterances: Sequence[Utterance], dev_share: float, test_share: float, seed: int = 0) -> list[Utterance]:
    """The same utterances with ``part`` set so that no speaker is in two parts.

    Speakers are shuffled by seed and given, whole, to the part that lacks most of its share of utterances.

    Args:
        utterances: all with a speaker.
        dev_share: share of the utterances that dev should have, 0..1.
        test_share: likewise for test; train gets the rest.
        seed: other seeds give other parts.

    Raises:
        CorpusError: when an utterance has no speaker, the shares leave nothing for train, or there are fewer speakers
            than parts.
    """
    shares = {"train": 1.0 - dev_share - test_share, "dev": dev_share, "test": test_share}
    wanted = [part for part in PARTS if shares[part] > 0]
    if "train" not in wanted:
        raise CorpusError(f"dev_share {dev_share} and test_share {test_share} leave nothing for train")
    sizes: dict[str, int] = defaultdict(int)
    for utterance in utterances:
        if utterance.speaker is None:
            raise CorpusError("has no speaker, so parts cannot be divided by speaker", item=utterance.id)
        sizes[utterance.speaker] += 1
    speakers = sorted(sizes)
    if len(speakers) < len(wanted):
        raise CorpusError(f"{len(speakers)} speakers cannot fill {len(wanted)} parts", remedy="Use fewer parts.")
    np.random.default_rng(seed).shuffle(speakers)
    filled = dict.fromkeys(wanted, 0)
    part_of: dict[str, str] = {}
    for position, speaker in enumerate(speakers):
        empty = [part for part in wanted if not filled[part]]
        choices = empty if len(empty) >= len(speakers) - position else wanted
        part = max(choices, key=lambda p: shares[p] * len(utterances) - filled[p])
        part_of[speaker] = part
        filled[part] += sizes[speaker]
    return [replace(u, part=part_of[u.speaker]) for u in utterances if u.speaker is not None]


def check_parts(
    utterances: Iterable[Utterance], content: Mapping[str, str] | None = None, *, speakers: bool = True
) -> None:
    """Prove that parts share no speaker and no recording.

    Args:
        utterances: those with a ``part`` are compared.
        content: utterance id -> hash of what it is made of; equal hashes are the same recording. None: not compared.
        speakers: whether speakers have to be disjoint.

    Raises:
        CorpusError: naming the overlap: the speaker, or the two utterances that are one recording.
    """
    part_of_speaker: dict[str, tuple[str, str]] = {}
    part_of_content: dict[str, tuple[str, str]] = {}
    for utterance in utterances:
        part = utterance.part
        if part is None:
            continue
        if speakers and utterance.speaker is not None:
            other, id = part_of_speaker.setdefault(utterance.speaker, (part, utterance.id))
            if other != part:
                raise CorpusError(f"speaker {utterance.speaker!r} is in {other} ({id}) and in {part} ({utterance.id})",
                                  remedy="Parts must not share speakers.")  # fmt: skip
        key = content.get(utterance.id) if content is not None else None
        if key is not None:
            other, id = part_of_content.setdefault(key, (part, utterance.id))
            if other != part:
                raise CorpusError(f"{id} in {other} and {utterance.id} in {part} are the same recording",
                                  remedy="Parts must not share recordings.")  # fmt: skip


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
