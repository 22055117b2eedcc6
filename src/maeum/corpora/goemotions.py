"""GoEmotions: Reddit comments by emotion (Demszky et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from maeum.config import Config
from maeum.corpora.base import CORPORA, PARTS, Corpus, LeftOut
from maeum.corpora.tables import read_text
from maeum.errors import CorpusError
from maeum.labels import EKMAN, EMOTIONS, LabelSet, canonical
from maeum.types import Utterance

#: The authors' grouping of their 27 emotions to Ekman's six (Demszky et al. 2020, appendix).
_EKMAN_GROUPS = {
    "anger": ("anger", "annoyance", "disapproval"),
    "disgust": ("disgust",),
    "fear": ("fear", "nervousness"),
    "happiness": ("joy", "amusement", "approval", "excitement", "gratitude", "love", "optimism", "relief", "pride",
                  "admiration", "desire", "caring"),
    "sadness": ("sadness", "disappointment", "embarrassment", "grief", "remorse"),
    "surprise": ("surprise", "realization", "confusion", "curiosity"),
    "neutral": ("neutral",),
}  # fmt: skip
_TO_EKMAN = {fine: coarse for coarse, members in _EKMAN_GROUPS.items() for fine in members}


class GoEmotionsOptions(Config):
    """How GoEmotions is read."""

    labels: Literal["single", "multi"] = "single"
    """``single`` leaves out comments with several labels, ``multi`` keeps them all."""


@CORPORA.register("goemotions")
class GoEmotions(Corpus):
    """GoEmotions as ``train.tsv``, ``dev.tsv``, ``test.tsv`` (text, label ids, id) with the list of labels.

    The list, ``labels.txt`` or ``emotions.txt``, may hold Ekman's six and neutral, or all 28 names, which are then
    grouped as the authors do.
    """

    name = "goemotions"
    title = "GoEmotions, grouped to Ekman's six emotions and neutral"
    licence = "Apache-2.0"
    citation = (
        "Demszky, D., Movshovitz-Attias, D., Ko, J., Cowen, A., Nemade, G., Ravi, S. (2020). GoEmotions: A dataset of "
        "fine-grained emotions. ACL 2020."
    )
    modalities = ("text",)
    identity = "text"
    counts: ClassVar[Mapping[str, int]] = {"train": 43410, "dev": 5426, "test": 5427}
    Options = GoEmotionsOptions

    @property
    def label_set(self) -> LabelSet:
        """Single-label or multi-label, after the options."""
        return EKMAN if self._single else LabelSet(EMOTIONS, "multi-label")

    @property
    def _single(self) -> bool:
        assert isinstance(self.options, GoEmotionsOptions)
        return self.options.labels == "single"

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; a comment's identity is its text."""
        labels = _read_labels(Path(source))
        parts = [part for part in PARTS if (Path(source) / f"{part}.tsv").is_file()]
        if not parts:
            raise CorpusError("holds none of train.tsv, dev.tsv, test.tsv", item=source)
        for part in parts:
            path = Path(source) / f"{part}.tsv"
            for number, line in enumerate(read_text(path).split("\n"), start=1):
                if not line.strip():
                    continue
                # The text may hold tabs and quotes of its own, so it is what is left of the last two fields.
                fields = line.rstrip("\r").rsplit("\t", 2)
                if len(fields) < 3:
                    raise CorpusError(f"line {number} is not text, label ids and id: {line[:80]!r}", item=path)
                yield self._item(part, fields, labels, f"{path}, line {number}")

    def _item(self, part: str, fields: list[str], labels: list[str], where: str) -> Utterance | LeftOut:
        text, ids, id = fields
        try:
            names = tuple(dict.fromkeys(labels[int(i)] for i in ids.split(",")))
        except (ValueError, IndexError) as error:
            raise CorpusError(f"label ids {ids!r} are not among 0..{len(labels) - 1}", item=where) from error
        name = f"goemotions-{part}-{id.strip()}"
        if not text.strip():
            return LeftOut(name, "no text", part)
        if self._single and len(names) > 1:
            return LeftOut(name, f"several labels ({', '.join(names)}) where one is asked for", part)
        return Utterance(id=name, text=text.strip(), label=names[0] if self._single else names, part=part)


def _read_labels(source: Path) -> list[str]:
    """Our name of each label id."""
    path = next((p for n in ("labels.txt", "emotions.txt") if (p := source / n).is_file()), None)
    if path is None:
        raise CorpusError("holds neither labels.txt nor emotions.txt", item=source,
                          remedy="Give the folder with train.tsv, dev.tsv and the list of labels.")  # fmt: skip
    names = [line.strip().lower() for line in read_text(path).splitlines() if line.strip()]
    mapped = [_TO_EKMAN.get(name, canonical(name)) for name in names]
    if unknown := [n for n, m in zip(names, mapped, strict=True) if m not in EMOTIONS]:
        raise CorpusError(f"unknown label {unknown[0]!r}", item=path)
    return mapped
