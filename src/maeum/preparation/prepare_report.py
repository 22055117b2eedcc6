"""What a preparation did, in numbers and in lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maeum.corpora.base import LeftOut
from maeum.corpora.targets import Target
from maeum.data.store import LEFT_OUT, NOTES, Store
from maeum.types import Modality
from maeum.wording import counted

#: How many items of a kind the lines name.
_EXAMPLES = 3
#: How many reasons they give; damaged files have one each.
_MOST_REASONS = 10


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` did."""

    store: Path
    corpus: str
    account: Mapping[str, Any]
    """Counts of items, as in the manifest."""
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    shards: int = 0
    reused: int = 0
    """Shards that an earlier run had finished."""
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Why items are left out -> the ids of those, the most frequent reason first."""
    limit: int | None = None
    unread: Mapping[str, int] = field(default_factory=dict)
    """Part -> items beyond the limit."""
    noted: Mapping[str, str] = field(default_factory=dict)
    """Id -> notes, without items that only lack a modality which no item has."""
    modalities: tuple[Modality, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of a corpus with published counts: label -> ``found`` in the source, and ``published``."""
    other_label_counts: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """The same of labels of other kinds, by kind."""
    text_only: Mapping[str, str] = field(default_factory=dict)
    """Of a corpus with media: id -> notes of items of which only the text can be used."""
    used_counts: Mapping[str, int] = field(default_factory=dict)
    """Part -> published number of usable items."""

    def lines(self) -> list[str]:
        """The report as lines of text."""
        account = self.account
        out = [
            f"{self.corpus}: {account['used']} of {counted(account['items'], 'item')} used, "
            f"{account['left_out']} left out"
        ]
        if self.limit is not None:
            beyond = ", ".join(f"{part} {count}" for part, count in self.unread.items())
            not_read = f"{sum(self.unread.values())} more were not read ({beyond})" if beyond else "no part has more"
            out.append(f"  limit: {counted(self.limit, 'item')} of each part; {not_read}")
        for part, labels in account["labels"].items():
            counts = ", ".join(f"{label} {count}" for label, count in labels.items())
            out.append(f"  {part}: {account['parts'][part]} ({counts})")
        if len(self.modalities) > 1:
            out.append("  with " + ", ".join(f"{m} {account['modalities'][m]}" for m in self.modalities))
        if self.limit is None:
            out += self._published_lines()
        frequent = list(self.reasons.items())[:_MOST_REASONS]
        out += [f"  left out: {len(ids)} x {reason} ({format_examples(ids)})" for reason, ids in frequent]
        if len(self.reasons) > len(frequent):
            out.append(f"  left out: for {len(self.reasons) - len(frequent)} other reasons")
        if self.left_out:
            out.append(f"  every item that is left out, and why: {self.store / LEFT_OUT}")
        for what, items in (("with a note", self.noted), ("with words only", self.text_only)):
            if items:
                examples = format_examples([f"{id} ({notes})" for id, notes in items.items()])
                out.append(f"  {counted(len(items), 'item')} {what}: {examples}")
        if self.noted:
            out.append(f"  every note: {self.store / NOTES}")
        out += [f"  note: {note}" for note in self.notes]
        if self.shards:
            out.append(f"  {counted(self.shards, 'shard')}, {self.reused} of them made before")
        out.append(f"  store: {self.store}")
        return out

    def _published_lines(self) -> list[str]:
        """Numbers of items beside the published ones: of each part, and of each target with classes."""
        out = []
        if self.used_counts:
            used = self.account["parts"]
            each = ", ".join(f"{part} {used.get(part, 0)} / {count}" for part, count in self.used_counts.items())
            out.append(f"  used / published: {each}; in all {self.account['used']} / {sum(self.used_counts.values())}")
        for name, target in self.targets.items():
            known = self.label_counts if target.of is None else self.other_label_counts.get(target.of, {})
            if known and target.labels:
                found, published = (
                    target.counts({label: counts[what] for label, counts in known.items()})
                    for what in ("found", "published")
                )
                each = ", ".join(f"{label} {found[label]} / {published[label]}" for label in target.labels)
                total = f"{sum(found.values())} / {sum(published.values())}"
                out.append(f"  {name}, found / published: {each}; in all {total}")
        return out


def report_of(folder: Path, manifest: Mapping[str, Any], shards: int = 0, reused: int = 0) -> PrepareReport:
    """The report on a finished store, from its manifest."""
    left_out = tuple(LeftOut(item["id"], item["reason"], item.get("part")) for item in manifest["left_out"])
    held = manifest["account"]["modalities"]
    lacking = {note for modality, note in _LACKING.items() if not held[modality]}
    noted = [row for row in Store(folder).rows if row["notes"]] if manifest["account"]["with_notes"] else []
    return PrepareReport(
        store=folder,
        corpus=manifest["name"],
        account=manifest["account"],
        left_out=left_out,
        notes=tuple(manifest["notes"]),
        shards=shards,
        reused=reused,
        reasons=_reasons(left_out),
        limit=manifest["settings"].get("limit"),
        unread=manifest.get("unread", {}),
        noted={row["id"]: "; ".join(row["notes"]) for row in noted if not lacking.issuperset(row["notes"])},
        modalities=tuple(manifest["modalities"]),
        targets={name: Target.parse(target) for name, target in manifest.get("targets", {}).items()},
        label_counts=manifest.get("label_counts", {}),
        other_label_counts=manifest.get("other_label_counts", {}),
        text_only={
            row["id"]: "; ".join(row["notes"])
            for row in noted
            if tuple(manifest["modalities"]) != ("text",) and not row["faces_count"] and not row["mel_chunks_count"]
        },
        used_counts=manifest.get("used_counts", {}),
    )


#: Beginnings of reasons that go on with what is particular to one item.
_KINDS = ("the same as", "copies of the same item carry different labels", "several labels", "no such file",
          "misaligned times", "missing video", "missing sound")  # fmt: skip


#: What an item's notes say where it lacks a modality.
_LACKING = {"faces": "no picture", "speech": "no sound"}


def _reasons(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
    """Kinds of reasons and the ids of those items, most frequent first."""
    reasons: dict[str, list[str]] = {}
    for item in left_out:
        kind = next((kind for kind in _KINDS if item.reason.startswith(kind)), item.reason)
        reasons.setdefault("the same as another item" if kind == "the same as" else kind, []).append(item.id)
    return dict(sorted(reasons.items(), key=lambda reason: -len(reason[1])))


def format_examples(things: Sequence[str]) -> str:
    """The first few of them: ``a, b, c ...``."""
    return ", ".join(things[:_EXAMPLES]) + (" ..." if len(things) > _EXAMPLES else "")
