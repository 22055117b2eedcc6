"""A corpus: people's diaries, a line a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from maeum.corpora.base import PARTS, Corpus, LeftOut
from maeum.errors import CorpusError
from maeum.labels import LabelSet
from maeum.types import Utterance


class Diary(Corpus):
    """Files ``train.txt``, ``dev.txt`` and ``test.txt`` with lines of writer, label and words between tabs."""

    name = "diary"
    title = "Diaries"
    licence = "CC BY 4.0"
    citation = "An example (2026)."
    modalities = ("text",)
    identity = "text"

    @property
    def label_set(self) -> LabelSet:
        """Three labels, of which a sentence has one."""
        return LabelSet(("calm", "glad", "tense"))

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """Every sentence; one without a label is left out and counted."""
        files = [source / f"{part}.txt" for part in PARTS if (source / f"{part}.txt").is_file()]
        if not files:
            raise CorpusError("holds none of train.txt, dev.txt, test.txt", item=source)
        for path in files:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                id = f"{path.stem}-{number}"
                writer, label, words = line.split("\t")
                if not label:
                    yield LeftOut(id, "has no label", path.stem)
                    continue
                yield Utterance(id, part=path.stem, speaker=writer, label=label, text=words)
