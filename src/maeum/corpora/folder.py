"""A user's own recordings: a folder of media and a table that says what they are."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from maeum.config import MOST_SEED, Config
from maeum.corpora.base import CORPORA, PARTS, Corpus, LeftOut, hidden
from maeum.corpora.overlaps import Member
from maeum.corpora.splits import PART_NAMES, RandomSplit
from maeum.corpora.tables import finite, read_columns, read_table
from maeum.corpora.targets import Target
from maeum.errors import CorpusError
from maeum.labels import EMOTIONS, LabelSet, Task, canonical
from maeum.types import HALVES, Recording, Utterance
from maeum.visible import visible

#: The columns that are read, and what tables of others call them.
_COLUMNS = {
    "path": ("file", "filename", "file_name", "filepath", "file_path", "audio", "video", "wav", "clip"),
    "label": ("emotion", "emotions", "class", "target", "category"),
    "text": ("transcript", "transcription", "sentence", "words"),
    "speaker": ("spk", "speaker_id", "spk_id", "actor", "subject"),
    "part": ("split", "set", "subset", "partition"),
    "start_s": ("start", "start_time", "begin", "onset"),
    "end_s": ("end", "end_time"),
    "dialogue": ("dialog", "dialogue_id", "conversation"),
    "channel": (),
    "side": (),
    "id": ("utterance_id",),
}


class FolderOptions(Config):
    """How a user's folder is read."""

    table: str | None = None
    """Name of the CSV or TSV in the folder; when null the only one, or table.csv of several."""
    labels: tuple[str, ...] = EMOTIONS
    """Names of the labels. Several labels of a row are separated by ``|``; of dimensional targets each name is a
    column, empty where a row has no value."""
    task: Task = "single-label"
    """Whether an item has one label, any number of them, or values on scales."""
    ranges: tuple[tuple[float, float], ...] | None = None
    """Lowest and highest value of each dimensional target, in the order of ``labels``."""
    # Came later: kept only where it is given, so that earlier stores stay valid.
    scales: dict[str, tuple[float, float]] = Field(default_factory=dict, exclude_if=lambda scales: not scales)
    """Columns of numbers beside the label with their lowest and highest value, such as ``{EmoVal: [1, 7]}``; the target
    ``scales`` predicts them."""
    parts: Literal["given", "by-speaker"] = "given"
    """``given`` takes the column ``part``; ``by-speaker`` divides the speakers at random."""
    dev_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the speakers in dev, with ``by-speaker``."""
    test_share: float = Field(default=0.15, ge=0, lt=1)
    """Share of the speakers in test, with ``by-speaker``."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Of the random division of speakers."""
    #: Left out of what a store is keyed by: it may be stated or corrected later, and nothing is decoded again.
    licence: str = Field(default="yours to state", min_length=1, exclude=True)
    """Licence of the recordings, such as ``CC BY 4.0``; stated on the card of every model trained on them."""
    title: str = Field(default="A folder of your own recordings", min_length=1, exclude=True)
    """What the recordings are called on that card."""

    @field_validator("labels", mode="after")
    @classmethod
    def _as_cells(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        for label in labels:
            if "|" in label or "\n" in label or visible(label) != label or label.strip() != label or not label:
                raise ValueError(f"{label!r} cannot be a label in a table: give words without '|', line breaks, signs "
                                 "that are not seen, or blanks around them")  # fmt: skip
        return labels


@CORPORA.register("folder")
class Folder(Corpus):
    """Columns of the table: path, start_s, end_s, text, label, speaker, dialogue, part, id; all but path are optional.

    Paths are relative to the table. A row without a path but with text is a sentence. Of a recording with several
    people the column side (left, right) says who of them is meant in the picture, and channel (0, 1 ...) in the sound.
    """

    name = "folder"
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
    def scales(self) -> LabelSet | None:  # type: ignore[override]
        """What the options say."""
        scales = self._options.scales
        return LabelSet(tuple(scales), "dimensional", tuple(scales.values())) if scales else None

    @property
    def targets(self) -> Mapping[str, Target]:  # type: ignore[override]
        """The scales, where there are any."""
        return {"scales": Target(scales=tuple(self._options.scales))} if self._options.scales else {}

    @property
    def title(self) -> str:  # type: ignore[override]
        """What the options say."""
        return self._options.title

    @property
    def licence(self) -> str:  # type: ignore[override]
        """What the options say."""
        return self._options.licence

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; a row whose file is missing is left out, one that contradicts itself is an error."""
        table = self._find_table(Path(source))
        options = self._options
        self._check_columns(table)
        seen: dict[str, int] = {}
        items = []
        for line, row in read_table(table, ("path",)):
            item = self._item(table, line, row)
            if item.id in seen:
                raise CorpusError(f"the id {item.id!r} is used twice (lines {seen[item.id]} and {line})", item=table,
                                  remedy="Remove one of the two, give each an id in a column id, or, where they are "
                                         "parts of one recording, start_s and end_s.")  # fmt: skip
            seen[item.id] = line
            items.append(item)
        if not items:
            raise CorpusError("has a header but no rows", item=table, remedy="Add a row for each recording.")
        if options.parts == "by-speaker":
            split = RandomSplit(dev_share=options.dev_share, test_share=options.test_share, seed=options.seed)
            parts = split.split([Member.of(item) for item in items if isinstance(item, Utterance)]).parts
            items = [replace(item, part=parts[item.id]) if isinstance(item, Utterance) else item for item in items]
        yield from items

    def remarks(self, source: Path) -> list[str]:
        """Columns that seem to have another name than the one that is read, no labels, and those read as others."""
        columns = read_columns(self._find_table(Path(source)))
        out = [
            f"the column {theirs!r} is not read; if it holds what the column {ours!r} is for, rename it"
            for ours, theirs in self._mistaken(columns).items()
        ]
        if "label" not in columns and not self._numbers:
            out.append(f"the table has no column 'label', only {', '.join(columns)}")
        if read_as := self._read_as(Path(source)):
            out.append(read_as)
        return out

    def _read_as(self, source: Path) -> str:
        """Which labels are read as others: ``joy is read as happiness (1), calm as neutral (1)``; empty for none."""
        if self._options.task == "dimensional":
            return ""
        counts: Counter[tuple[str, str]] = Counter()
        for _, row in read_table(self._find_table(source), ("path",)):
            for word in _words_of(row):
                name = self._known_label(word)
                if name is not None and name.lower() != word.lower():
                    counts[word.lower(), name] += 1
        verbs = ["is read as", *["as"] * len(counts)]
        pairs = zip(counts.items(), verbs, strict=False)
        return ", ".join(f"{word} {verb} {name} ({number})" for ((word, name), number), verb in pairs)

    def _known_label(self, word: str) -> str | None:
        """The label that a word of the table means; None where it is none."""
        return next((name for name in (word, canonical(word)) if name in self._options.labels), None)

    @property
    def _numbers(self) -> tuple[str, ...]:
        """The columns of numbers that the options ask for."""
        return (*self._options.scales, *(self._options.labels if self._options.task == "dimensional" else ()))

    def _mistaken(self, columns: Sequence[str]) -> dict[str, str]:
        """Columns that the table lacks, and the one that it seems to have in their place."""
        wanted = {**dict.fromkeys((name.lower() for name in self._numbers), ()), **_COLUMNS}
        strange = [name for name in columns if name not in wanted]
        if self._options.task == "dimensional":
            del wanted["label"]
        found = {}
        for ours, others in wanted.items():
            known = [name for name in others if name in strange]
            near = known or difflib.get_close_matches(ours, strange, n=1, cutoff=0.8)
            if near and ours not in columns:
                found[ours] = near[0]
        return found

    def _check_columns(self, table: Path) -> None:
        """Raises CorpusError where a required column is missing, or labels are in one of another name."""
        columns = read_columns(table)
        mistaken, numbers = self._mistaken(columns), self._numbers
        for name in ("path", *numbers, *(() if numbers else ("label",))):
            if name.lower() in columns or (name == "label" and name not in mistaken):
                continue
            theirs = mistaken.get(name.lower())
            remedy = f"Name a column {name!r} in the first line."
            if theirs:
                remedy = f"Rename {theirs!r} to {name!r}; if it holds something else, add an empty column {name!r}."
            raise CorpusError(f"has no column {name!r}, only {', '.join(columns) or 'nothing'}", item=table,
                              remedy=remedy)  # fmt: skip

    def _find_table(self, source: Path) -> Path:
        if source.is_file():
            return source
        if not source.is_dir():
            raise CorpusError("no such folder", item=source, remedy="Give the folder that holds the table.")
        if self._options.table is not None:
            return source / self._options.table
        tables = sorted(
            p for p in source.iterdir() if p.suffix.lower() in (".csv", ".tsv") and p.is_file() and not hidden(p)
        )
        if len(tables) > 1 and source / "table.csv" in tables:
            return source / "table.csv"
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
            raise CorpusError(problem, item=where, remedy="Correct the row; times are seconds into the recording.")
        part = row.get("part", "").lower() or None
        part = None if part is None else PART_NAMES.get(part, part)
        if part is not None and part not in PARTS:
            raise CorpusError(f"part {part!r} is none of {', '.join(PARTS)}", item=where,
                              remedy="Write train, dev (for validation) or test, or leave it empty.")  # fmt: skip
        path, text = row["path"], row.get("text", "") or None
        side, channel = row.get("side", "").lower() or None, _channel(row.get("channel", ""), where)
        if side is not None and side not in HALVES:
            raise CorpusError(f"side {side!r} is none of {', '.join(HALVES)}", item=where,
                              remedy="Leave it empty where all of the picture is meant.")  # fmt: skip
        span = f"@{start_s:g}-{'' if end_s is None else f'{end_s:g}'}" if (start_s or end_s is not None) else ""
        who = (side or "") + ("" if channel is None else f"{channel}")
        id = row.get("id", "") or (f"{path}{span}{who and f'#{who}'}" if path else f"line{line}")
        if not path and text is None:
            return LeftOut(id, "neither a path nor text")
        file = table.parent / path
        if path and not file.is_file():
            return LeftOut(id, f"no such file: {file}")
        return Utterance(
            id=id,
            recording=Recording(
                id=path, video=file, audio=file, crop=None if side is None else HALVES[side], channel=channel
            )
            if path
            else None,
            dialogue=row.get("dialogue", "") or None,
            speaker=row.get("speaker", "") or None,
            start_s=start_s,
            end_s=end_s,
            text=text,
            label=self._label(row, where),
            part=part,
            scales=self._scales(row, where),
        )

    def _scales(self, row: Mapping[str, str], where: str) -> dict[str, float] | None:
        """The numbers of a row; None where it has none."""
        values = {name: _number(row.get(name.lower(), ""), name, where) for name in self._options.scales}
        return _within({name: value for name, value in values.items() if value is not None}, self.scales, where) or None

    def _label(self, row: Mapping[str, str], where: str) -> str | tuple[str, ...] | dict[str, float] | None:
        options = self._options
        if options.task == "dimensional":
            values = {name: _number(row.get(name.lower(), ""), name, where) for name in options.labels}
            given = {name: value for name, value in values.items() if value is not None}
            return _within(given, self.label_set, where) or None
        names = []
        for word in _words_of(row):
            name = self._known_label(word)
            if name is None:
                known = ", ".join(options.labels)
                raise CorpusError(f"unknown label {word!r}; the labels are {known}", item=where,
                                  remedy="Correct the row, or give your labels with the option labels.")  # fmt: skip
            names.append(name)
        if options.task == "multi-label":
            return tuple(names) if "label" in row else None
        if len(names) > 1:
            raise CorpusError(f"has several labels ({', '.join(names)}) where one is asked for", item=where,
                              remedy="Set the option task to multi-label.")  # fmt: skip
        return names[0] if names else None


def _words_of(row: Mapping[str, str]) -> list[str]:
    """The labels of a row, as they are written in it."""
    return [word.strip() for word in row.get("label", "").split("|") if word.strip()]


def _number(text: str, column: str, where: str) -> float | None:
    if not text:
        return None
    number = finite(text)
    if number is None:
        raise CorpusError(f"{column} {text!r} is not a number", item=where,
                          remedy="Correct the row, or leave it empty.")  # fmt: skip
    return number


def _within(values: dict[str, float], scales: LabelSet | None, where: str) -> dict[str, float]:
    """The values; raises CorpusError on one that is outside its scale."""
    for scale, (low, high) in ({} if scales is None else scales.scales).items():
        if scale in values and not low <= values[scale] <= high:
            raise CorpusError(f"{scale} = {values[scale]:g} is outside {low:g}..{high:g}", item=where,
                              remedy="Correct the row, or the range in the options.")  # fmt: skip
    return values


def _channel(text: str, where: str) -> int | None:
    """A channel's number; None where none is given."""
    if not text:
        return None
    if not text.isdecimal():
        raise CorpusError(f"channel {text!r} is no number of a channel: 0, 1 ...", item=where,
                          remedy="Leave it empty where all channels are meant.")  # fmt: skip
    return int(text)
