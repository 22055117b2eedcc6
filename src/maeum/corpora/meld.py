"""MELD: lines of the series Friends in dialogues, by emotion (Poria et al. 2019). Text only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from maeum.corpora.base import CORPORA, PARTS, Corpus, LeftOut
from maeum.corpora.tables import read_table
from maeum.errors import CorpusError
from maeum.labels import canonical
from maeum.types import Utterance

_COLUMNS = ("utterance", "speaker", "emotion", "dialogue_id", "utterance_id")


@CORPORA.register("meld")
class Meld(Corpus):
    """MELD transcripts from ``train_sent_emo.csv``, ``dev_sent_emo.csv``, ``test_sent_emo.csv``.

    Parts are official. The same six friends speak in all of them, so speakers are not disjoint. A short line such as
    "What?" is said many times in different scenes, so equal text is not the same item.
    """

    name = "meld"
    title = "MELD, Multimodal EmotionLines Dataset (transcripts)"
    licence = "GPL-3.0 repository; the lines are subtitle text of Friends"
    citation = (
        "Poria, S., Hazarika, D., Majumder, N., Naik, G., Cambria, E., Mihalcea, R. (2019). MELD: A multimodal "
        "multi-party dataset for emotion recognition in conversations. ACL 2019."
    )
    modalities = ("text",)
    identity = "none"
    counts: ClassVar[Mapping[str, int]] = {"train": 9989, "dev": 1109, "test": 2610}

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`. Times are seconds into the episode; a pair that runs backwards is not given."""
        parts = [part for part in PARTS if (Path(source) / f"{part}_sent_emo.csv").is_file()]
        if not parts:
            raise CorpusError("holds none of train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv", item=source)
        for part in parts:
            path = Path(source) / f"{part}_sent_emo.csv"
            for line, row in read_table(path, _COLUMNS, delimiter=","):
                id = f"meld-{part}-dia{row['dialogue_id']}-utt{row['utterance_id']}"
                if not row["utterance"]:
                    yield LeftOut(id, "no text", part)
                    continue
                emotion = canonical(row["emotion"])
                if emotion not in self.label_set.names:
                    raise CorpusError(f"line {line}: unknown emotion {row['emotion']!r}", item=path)
                start_s, end_s = _seconds(row.get("starttime", "")), _seconds(row.get("endtime", ""))
                known = start_s is not None and end_s is not None and end_s > start_s
                yield Utterance(
                    id=id,
                    dialogue=f"meld-{part}-dia{row['dialogue_id']}",
                    speaker=f"meld-{row['speaker']}" if row["speaker"] else None,
                    start_s=start_s if known and start_s is not None else 0.0,
                    end_s=end_s if known else None,
                    text=row["utterance"],
                    label=emotion,
                    part=part,
                )


def _seconds(stamp: str) -> float | None:
    """``00:20:57,256`` as 1257.256; None when it is not a time."""
    try:
        hours, minutes, seconds = stamp.replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
