"""A split in tables: what is in each part, and what parts share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from rich.console import Console
from rich.table import Table

from maeum.corpora.base import PARTS
from maeum.corpora.overlaps import KINDS, Member, Overlap, format_overlaps, keys_of, overlaps
from maeum.corpora.splits import Split
from maeum.reports.tables import markdown_table
from maeum.visible import visible

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class SplitReport:
    """A split of a store.

    parts: a column for each part: utterances, speakers, and items of each class. shared: a row for each part (how many
    it has) and each two parts (how many they share), a column for each kind. Both begin with their header.
    """

    name: str
    parts: Rows
    shared: Rows
    overlaps: tuple[Overlap, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What the tables mean, and what else is to know."""
        if not self.overlaps:
            verdict = ["The parts share nothing."]
        else:
            examples = [f"  such as {example}" for overlap in self.overlaps for example in overlap.examples[:1]]
            verdict = [f"The parts overlap: {'; '.join(format_overlaps(self.overlaps))}", *examples,
                       "Training refuses this split, unless its recipe says allow_overlap: true."]  # fmt: skip
        return [*self.notes, *verdict]

    def show(self, console: Console) -> None:
        """Print it as tables."""
        for rows, title in ((self.parts, self.name), (self.shared, "what each part has, and what two parts share")):
            table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left", header_style="dim")
            for number, name in enumerate(rows[0]):
                table.add_column(name, justify="right" if number else "left", no_wrap=number == 0)
            for row in rows[1:]:
                table.add_row(*row)
            console.print(table)
            console.print()
        for line in self.lines():
            console.print(line, soft_wrap=True)

    def markdown(self) -> str:
        """The same as Markdown."""
        lines = [f"# {self.name}", ""]
        for rows in (self.parts, self.shared):
            lines += [*markdown_table(rows[0], rows[1:], "numbers"), ""]
        return visible("\n".join([*lines, *self.lines()])) + "\n"


def report_split(split: Split, members: Sequence[Member], corpus: str) -> SplitReport:
    """Describe a split of these members."""
    parts = split.members(members)
    seed = "" if split.seed is None else f", seed {split.seed}"
    keys = {part: keys_of(those) for part, those in parts.items()}
    found = overlaps(keys)
    counts = {(*overlap.parts, overlap.kind): overlap.count for overlap in found}
    known = {kind for kind in KINDS if any(keys[part][kind] for part in parts)}
    shared = [("", *KINDS.values())]
    shared += [(part, *(str(len(keys[part][k])) if k in known else "not known" for k in KINDS)) for part in parts]
    for one, other in combinations(parts, 2):
        cells = (str(counts.get((one, other, kind), 0)) if kind in known else "not known" for kind in KINDS)
        shared.append((f"{one} and {other}", *cells))
    return SplitReport(
        name=f"{corpus}: {split.name}{seed}",
        parts=_parts(parts, [m for m in members if m.id not in split.parts]),
        shared=tuple(shared),
        overlaps=found,
        notes=split.notes,
    )


def _parts(parts: dict[str, list[Member]], rest: list[Member]) -> Rows:
    classes = sorted({label for those in parts.values() for m in those for label in m.labels})
    rows: list[tuple[str, ...]] = [("", "utterances", "speakers", *classes, "no label")]
    for part, those in ({part: parts[part] for part in PARTS if part in parts} | {"in no part": rest}).items():
        if those:
            labels = Counter(label for m in those for label in m.labels)
            speakers = {m.speaker for m in those} - {None}
            bare = sum(not m.labels for m in those)
            cells = (len(those), len(speakers), *(labels[name] for name in classes), bare)
            rows.append((part, *map(str, cells)))
    return tuple(zip(*rows, strict=True))
