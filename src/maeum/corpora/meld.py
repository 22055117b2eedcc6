"""MELD: lines of the series Friends in dialogues, by emotion and sentiment (Poria et al. 2019)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from maeum.corpora.base import CORPORA, PARTS, Corpus, LeftOut, hidden, unreadable_reason
from maeum.corpora.tables import read_table
from maeum.corpora.targets import Target
from maeum.errors import CorpusError, MediaError
from maeum.labels import EMOTIONS, LabelSet, canonical
from maeum.media.info import probe
from maeum.types import Recording, Utterance

_COLUMNS = ("utterance", "speaker", "emotion", "dialogue_id", "utterance_id")
_SENTIMENTS = ("negative", "neutral", "positive")
#: Where the clips of a part are.
_CLIPS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
_CLIP = re.compile(r"dia(\d+)_utt(\d+)")
#: A clip that is longer than its line by both of these is of something else; a few last minutes.
_LONGER_TIMES, _LONGER_S = 2.0, 10.0


@CORPORA.register("meld")
class Meld(Corpus):
    """MELD: ``train_sent_emo.csv``, ``dev_sent_emo.csv``, ``test_sent_emo.csv``, and the clips where they are present.

    The clips are in ``train_splits``, ``dev_splits_complete`` and ``output_repeated_splits_test``; table and clips of a
    part may be in a folder of its name. A line whose clip is missing, broken, or so much longer than the table says
    that it must show more than the line, keeps its words, and carries a note.

    Parts are official. The same six friends speak in all of them, so speakers are not disjoint. A short line such as
    "What?" occurs many times in different scenes, so equal text is not the same item; a few clips are in two parts.
    """

    name = "meld"
    title = "MELD, Multimodal EmotionLines Dataset"
    licence = "GPL-3.0 repository; the lines are subtitle text of Friends, the clips are cut from it"
    citation = (
        "Poria, S., Hazarika, D., Majumder, N., Naik, G., Cambria, E., Mihalcea, R. (2019). MELD: A multimodal "
        "multi-party dataset for emotion recognition in conversations. ACL 2019."
    )
    modalities = ("faces", "speech", "text")
    faces = "detect"
    identity = "clip"
    counts: ClassVar[Mapping[str, int]] = {"train": 9989, "dev": 1109, "test": 2610}
    label_counts: ClassVar[Mapping[str, int]] = {
        "anger": 1607, "disgust": 361, "fear": 358, "happiness": 2308, "sadness": 1002, "surprise": 1636,
        "neutral": 6436,
    }  # fmt: skip
    other_labels: ClassVar[Mapping[str, LabelSet]] = {"sentiment": LabelSet(_SENTIMENTS)}
    other_label_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "sentiment": {"negative": 4184, "neutral": 6436, "positive": 3088}
    }
    targets: ClassVar[Mapping[str, Target]] = {
        "emotion": Target(labels=EMOTIONS),
        "sentiment": Target(of="sentiment", labels=_SENTIMENTS),
    }

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; clips without a line are left out.

        Times are seconds into the episode; a pair that runs backwards is not given. A line with a clip is all of it.
        """
        tables = {part: _find(Path(source), part, f"{part}_sent_emo.csv") for part in PARTS}
        if not any(tables.values()):
            raise CorpusError("holds none of train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv", item=source)
        folders = {part: _find(Path(source), part, name) for part, name in _CLIPS.items()}
        for part, table in tables.items():
            folder = folders[part]
            listed: set[str] = set()
            if table is not None:
                # Of a copy that has clips of some parts only, the others are known to be missing.
                expected = (folder or table.parent / _CLIPS[part]) if any(folders.values()) else None
                for line, row in read_table(table, _COLUMNS, delimiter=","):
                    item = self._item(table, line, row, part, expected)
                    listed.add(f"dia{row['dialogue_id']}_utt{row['utterance_id']}")
                    yield item
            if folder is not None:
                yield from _unlisted(folder, listed, part)

    def _item(
        self, table: Path, line: int, row: Mapping[str, str], part: str, clips: Path | None
    ) -> Utterance | LeftOut:
        """A line of the table, with its clip where there are clips."""
        dialogue = f"meld-{part}-dia{row['dialogue_id']}"
        id = f"{dialogue}-utt{row['utterance_id']}"
        text = row["utterance"] or None
        emotion, sentiment = canonical(row["emotion"]), row.get("sentiment", "").lower()
        if emotion not in EMOTIONS:
            raise CorpusError(f"line {line}: unknown emotion {row['emotion']!r}", item=table)
        if sentiment and sentiment not in _SENTIMENTS:
            raise CorpusError(f"line {line}: unknown sentiment {row['sentiment']!r}", item=table)
        start_s, end_s = _seconds(row.get("starttime", "")), _seconds(row.get("endtime", ""))
        if start_s is None or end_s is None or end_s <= start_s:
            start_s, end_s = 0.0, None
        recording: Recording | None = None
        notes: tuple[str, ...] = ()
        if clips is not None:
            clip = clips / f"dia{row['dialogue_id']}_utt{row['utterance_id']}.mp4"
            if problem := unreadable_reason(clip) or _too_long_reason(clip, start_s, end_s):
                notes = (f"no clip: {clips.name}/{clip.name} {problem}",)
            else:
                recording, start_s, end_s = Recording(id=id, video=clip, audio=clip), 0.0, None
        if text is None and recording is None:
            return LeftOut(id, "no text" if clips is None else "neither text nor clip", part)
        return Utterance(
            id=id,
            recording=recording,
            dialogue=dialogue,
            speaker=f"meld-{row['speaker']}" if row["speaker"] else None,
            start_s=start_s,
            end_s=end_s,
            text=text,
            label=emotion,
            part=part,
            other_labels={"sentiment": sentiment} if sentiment else None,
            notes=notes,
        )


def _find(source: Path, part: str, name: str) -> Path | None:
    """What has that name in the source, or in its folder of that part; None where it is missing."""
    return next((path for path in (source / name, source / part / name) if path.exists()), None)


def _too_long_reason(clip: Path, start_s: float, end_s: float | None) -> str | None:
    """That a clip is much longer than its line; None where it is not, or that cannot be known."""
    if end_s is None:
        return None
    try:
        length_s = probe(clip).duration_s
    except MediaError:
        return None
    line_s = end_s - start_s
    if length_s is None or length_s <= max(_LONGER_TIMES * line_s, line_s + _LONGER_S):
        return None
    return f"is {length_s:.1f} s long, its line {line_s:.1f} s"


def _unlisted(folder: Path, listed: set[str], part: str) -> Iterator[LeftOut]:
    """The clips that belong to no line: the copies distributed hold some."""
    for path in sorted(p for p in folder.iterdir() if not hidden(p)):
        id = f"{folder.name}/{path.name}"
        if not (path.suffix == ".mp4" and _CLIP.fullmatch(path.stem)):
            yield LeftOut(id, "the name is not dia<number>_utt<number>.mp4", part)
        elif path.stem not in listed:
            yield LeftOut(id, "a clip without a line in the table", part)


def _seconds(stamp: str) -> float | None:
    """``00:20:57,256`` as 1257.256; None when it is not a time."""
    try:
        hours, minutes, seconds = stamp.replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
