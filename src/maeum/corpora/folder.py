"""A user's own recordings: a folder of media and a table that says what they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from maeum.config import Config
from maeum.corpora.base import CORPORA, PARTS, Corpus, LeftOut
from maeum.corpora.overlaps import Member
from maeum.corpora.splits import RandomSplit
from maeum.corpora.tables import read_table
from maeum.errors import CorpusError
from maeum.labels import EMOTIONS, LabelSet, Task, canonical
from maeum.types import Recording, Utterance


class FolderOptions(Config):
    """How a user's folder is read.

    table: the CSV or TSV in it (the one that is there, when None). labels, task: the label set; several labels of a row
    are separated by ``|``; for dimensional targets each name is a column, empty where a row has no value, and ranges
    gives each one's lowest and highest value. parts: ``given`` takes the column ``part``, ``by-speaker`` divides
    speakers at random (dev_share, test_share, seed). licence: of the
    recordings, such as ``CC BY 4.0``; stated on the card of every model trained on them.
    """

    table: str | None = None
    labels: tuple[str, ...] = EMOTIONS
    task: Task = "single-label"
    ranges: tuple[tuple[float, float], ...] | None = None
    parts: Literal["given", "by-speaker"] = "given"
    dev_share: float = Field(default=0.15, ge=0, lt=1)
    test_share: float = Field(default=0.15, ge=0, lt=1)
    seed: int = 0
    #: Left out of what a store is keyed by: it may be stated or corrected later, and nothing is decoded again.
    licence: str = Field(default="yours to state", min_length=1, exclude=True)


@CORPORA.register("folder")
class Folder(Corpus):
    """Columns of the table: path, start_s, end_s, text, label, speaker, dialogue, part, id; all but path are optional.

    Paths are relative to the table. A row without a path but with text is a sentence.
    """

    name = "folder"
    title = "A folder of your own recordings"
    citation = "none"
    modalities = ("faces", "speech", "text")
    faces = "detect"
    Options = FolderOptions
    identity = "none"

    @property
    def label_set(self) -> LabelSet:
        """What the options say."""
        options = self._options
        return LabelSet(options.labels, options.task, options.ranges)

    @property
    def _options(self) -> FolderOptions:
        assert isinstance(self.options, FolderOptions)
        return self.options

    @property
    def licence(self) -> str:  # type: ignore[override]
        """What the options say."""
        return self._options.licence

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; a row whose file is missing is left out, one that contradicts itself is an error."""
        table = self._find_table(Path(source))
        options = self._options
        scales = options.labels if options.task == "dimensional" else ()
        items = [self._item(table, line, row) for line, row in read_table(table, ("path", *scales))]
        if not items:
            raise CorpusError("has a header but no rows", item=table)
        seen: dict[str, int] = {}
        for number, item in enumerate(items):
            if item.id in seen:
                raise CorpusError(
                    f"the id {item.id!r} is used twice (rows {seen[item.id] + 1} and {number + 1})", item=table
                )
            seen[item.id] = number
        if options.parts == "by-speaker":
            split = RandomSplit(dev_share=options.dev_share, test_share=options.test_share, seed=options.seed)
            parts = split.split([Member.of(item) for item in items if isinstance(item, Utterance)]).parts
            items = [replace(item, part=parts[item.id]) if isinstance(item, Utterance) else item for item in items]
        yield from items

    def _find_table(self, source: Path) -> Path:
        if source.is_file():
            return source
        if not source.is_dir():
            raise CorpusError("no such folder", item=source)
        if self._options.table is not None:
            return source / self._options.table
        tables = sorted(p for p in source.iterdir() if p.suffix.lower() in (".csv", ".tsv") and p.is_file())
        if len(tables) != 1:
            found = ", ".join(p.name for p in tables) or "none"
            raise CorpusError(f"needs one .csv or .tsv, found {found}", item=source,
                              remedy="Add a table with a column path, or name it with the option table.")  # fmt: skip
        return tables[0]

    def _item(self, table: Path, line: int, row: Mapping[str, str]) -> Utterance | LeftOut:
        where = f"{table}, line {line}"
        start_s = _number(row.get("start_s", ""), "start_s", where) or 0.0
        end_s = _number(row.get("end_s", ""), "end_s", where)
        if start_s < 0 or (end_s is not None and end_s <= start_s):
            problem = (
                f"start_s {start_s} is negative" if start_s < 0 else f"end_s {end_s} is not after start_s {start_s}"
            )
            raise CorpusError(problem, item=where)
        part = row.get("part", "").lower() or None
        if part is not None and part not in PARTS:
            raise CorpusError(f"part {part!r} is none of {', '.join(PARTS)}", item=where)
        path, text = row["path"], row.get("text", "") or None
        span = f"@{start_s:g}-{'' if end_s is None else f'{end_s:g}'}" if (start_s or end_s is not None) else ""
        id = row.get("id", "") or (f"{path}{span}" if path else f"line{line}")
        if not path and text is None:
            return LeftOut(id, "neither a path nor text")
        file = table.parent / path
        if path and not file.is_file():
            return LeftOut(id, f"no such file: {file}")
        return Utterance(
            id=id,
            recording=Recording(id=path, video=file, audio=file) if path else None,
            dialogue=row.get("dialogue", "") or None,
            speaker=row.get("speaker", "") or None,
            start_s=start_s,
            end_s=end_s,
            text=text,
            label=self._label(row, where),
            part=part,
        )

    def _label(self, row: Mapping[str, str], where: str) -> str | tuple[str, ...] | dict[str, float] | None:
        options = self._options
        if options.task == "dimensional":
            values = {name: _number(row.get(name.lower(), ""), name, where) for name in options.labels}
            for scale, (low, high) in self.label_set.scales.items():
                if (value := values[scale]) is not None and not low <= value <= high:
                    raise CorpusError(f"{scale} = {value:g} is outside {low:g}..{high:g}", item=where,
                                      remedy="Correct the row, or the option ranges.")  # fmt: skip
            return {name: value for name, value in values.items() if value is not None} or None
        words = [word for word in row.get("label", "").split("|") if word.strip()]
        names = []
        for word in words:
            name = next((n for n in (word.strip(), canonical(word)) if n in options.labels), None)
            if name is None:
                known = ", ".join(options.labels)
                raise CorpusError(f"unknown label {word.strip()!r}; the labels are {known}", item=where,
                                  remedy="Correct the row, or give your labels with the option labels.")  # fmt: skip
            names.append(name)
        if options.task == "multi-label":
            return tuple(names) if "label" in row else None
        if len(names) > 1:
            raise CorpusError(f"has several labels ({', '.join(names)}) where one is asked for", item=where,
                              remedy="Set the option task to multi-label.")  # fmt: skip
        return names[0] if names else None


def _number(text: str, column: str, where: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError as error:
        raise CorpusError(f"{column} {text!r} is not a number", item=where) from error
    if not math.isfinite(number):
        raise CorpusError(f"{column} {text!r} is not a number", item=where)
    return number
