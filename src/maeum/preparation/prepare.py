"""Prepare a corpus: read it as its authors distribute it, prove its parts disjoint, decode it once into a store."""

from __future__ import annotations

import multiprocessing
import platform
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from rich.console import Console
from rich.progress import Progress

from maeum import __version__
from maeum.config import Config, RenamedSettingWarning
from maeum.corpora import make_corpus
from maeum.corpora.base import PARTS, Corpus, LeftOut
from maeum.corpora.overlaps import Member, in_words
from maeum.corpora.splits import OfficialSplit, repeats
from maeum.corpora.targets import Target
from maeum.data.store import LEFT_OUT, NOTES, Origin, Store, StoreWriter, digest, write_shard
from maeum.errors import CorpusError, StoreError
from maeum.inputs.settings import ClipSettings
from maeum.inputs.utterances import UtteranceReader
from maeum.preparation.collage import CollageOptions, prepare_collage
from maeum.preparation.items import ItemMaker, content_hash
from maeum.progress import progress_bar
from maeum.types import Modality, Recording, Utterance

#: How many of a kind a report names.
_EXAMPLES = 3
#: How many reasons it gives; damaged files have one each.
_MOST_REASONS = 10
_ITEMS_PER_SHARD = {"text": 4096, "crops": 2048, "media": 64}


class PrepareConfig(Config):
    """What a prepared corpus depends on besides its files."""

    inputs: ClipSettings = ClipSettings()
    """How media become clips; models that are trained on the store are used with the same settings."""
    no_face: Literal["leave-out", "centre-crop"] = "leave-out"
    """What becomes of a frame without a face: it is left out, or its centre is taken as the published code does."""
    precision: Literal["float16", "float32"] = "float16"
    """Of the log-mel chunks on disk; float16 is off by at most 0.4 % of power, at half the size."""
    wave: bool = False
    """Keep the sound itself too, 16 kHz mono, for networks that read it; 32 kB a second."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The corpus' own options."""
    limit: int | None = Field(default=None, ge=1)
    """Only so many items of each part (of each label of a collage), spread over its labels; for a trial."""

    @model_validator(mode="before")
    @classmethod
    def _with_decode(cls, data: Any) -> Any:
        """Settings of earlier versions, in which those of media stood under ``decode``."""
        if not isinstance(data, dict) or not isinstance(data.get("decode"), dict):
            return data
        warnings.warn("decode is now inputs (frame_every_s, trim_silence), with no_face, precision and wave beside it",
                      RenamedSettingWarning, stacklevel=2)  # fmt: skip
        decode = dict(data["decode"])
        inputs = {name: decode.pop(name) for name in ("every_s", "frame_every_s", "trim_silence") if name in decode}
        return {**{k: v for k, v in data.items() if k != "decode"}, **decode, **({"inputs": inputs} if inputs else {})}

    def store_settings(self) -> dict[str, Any]:
        """The settings that a store's media are made with."""
        return self.model_dump(mode="json", include={"inputs", "no_face", "precision", "wave"})


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` did.

    account: the manifest's counts. reused: shards that were there already. reasons: why items are left out, and the
    ids of those. unread: part -> items beyond the limit, where there is one. noted: notes of items, by id, unless all
    they say is that a modality is missing that no item has. label_counts: of a corpus with published counts, label ->
    ``found`` in the source and ``published``; other_label_counts: the same of labels of other kinds, by kind.
    words_only: of a corpus with media, items that have none that can be used, and their notes. used_counts: part ->
    published number of usable items.
    """

    store: Path
    corpus: str
    account: Mapping[str, Any]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    shards: int = 0
    reused: int = 0
    reasons: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limit: int | None = None
    unread: Mapping[str, int] = field(default_factory=dict)
    noted: Mapping[str, str] = field(default_factory=dict)
    modalities: tuple[Modality, ...] = ()
    targets: Mapping[str, Target] = field(default_factory=dict)
    label_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    other_label_counts: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    words_only: Mapping[str, str] = field(default_factory=dict)
    used_counts: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """The report in words, a line each."""
        account = self.account
        out = [f"{self.corpus}: {account['used']} of {account['items']} items used, {account['left_out']} left out"]
        if self.limit is not None:
            beyond = ", ".join(f"{part} {count}" for part, count in self.unread.items())
            not_read = f"{sum(self.unread.values())} more were not read ({beyond})" if beyond else "no part has more"
            out.append(f"  limit: {self.limit} items of each part; {not_read}")
        for part, labels in account["labels"].items():
            counts = ", ".join(f"{label} {count}" for label, count in labels.items())
            out.append(f"  {part}: {account['parts'][part]} ({counts})")
        if len(self.modalities) > 1:
            out.append("  with " + ", ".join(f"{m} {account['modalities'][m]}" for m in self.modalities))
        if self.limit is None:
            out += self._published()
        most = list(self.reasons.items())[:_MOST_REASONS]
        out += [f"  left out: {len(ids)} x {reason} ({_first(ids)})" for reason, ids in most]
        if len(self.reasons) > len(most):
            out.append(f"  left out: for {len(self.reasons) - len(most)} other reasons")
        if self.left_out:
            out.append(f"  every item that is left out, and why: {self.store / LEFT_OUT}")
        for what, items in (("carry a note", self.noted), ("have words only", self.words_only)):
            if items:
                first = _first([f"{id} ({notes})" for id, notes in items.items()])
                out.append(f"  {len(items)} items {what}: {first}")
        if self.noted:
            out.append(f"  every note: {self.store / NOTES}")
        out += [f"  note: {note}" for note in self.notes]
        if self.shards:
            out.append(f"  {self.shards} shards, {self.reused} of them were there already")
        out.append(f"  store: {self.store}")
        return out

    def _published(self) -> list[str]:
        """How many items there are of how many were published: of each part, and of each target with classes."""
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


def prepare(
    corpus: str | Corpus,
    source: Path | str,
    store: Path | str,
    settings: PrepareConfig | None = None,
    *,
    workers: int = 1,
    restart: bool = False,
    console: Console | None = None,
) -> PrepareReport:
    """Make (or complete) the store of a corpus.

    May be interrupted, or killed, at any point: finished shards are kept, and the same call goes on where it stopped.
    Of a store that is complete only what changed in the sources is made again.

    Args:
        corpus: its name, or itself; ``collage`` composes one of prepared stores (`maeum.data.collage`).
        source: the corpus as its authors distribute it; for a collage, the folder in which the stores are.
        store: the folder of the store.
        settings: how; the defaults when None.
        workers: processes that decode.
        restart: begin anew when the store was made with other settings.
        console: where the progress bar is drawn; None draws none.

    Raises:
        CorpusError: when the corpus is not laid out as expected.
        StoreError: when the store cannot be written, was made with other settings, or a worker was killed.
        ConfigError: on an unknown corpus or option.
    """
    settings = settings or PrepareConfig()
    source, folder = Path(source), Path(store)
    if corpus == "collage":
        options = CollageOptions.parse(settings.options, item="options of the collage")
        if settings.limit is not None:
            fewer = {part: min(count, settings.limit) for part, count in options.per_label.items()}
            options = options.model_copy(update={"per_label": fewer})
        return _report(folder, prepare_collage(source, folder, options, restart=restart, console=console))
    if isinstance(corpus, str):
        corpus = make_corpus(corpus, settings.options)
    made_from = {
        "corpus": corpus.name,
        "options": corpus.options.model_dump(mode="json"),
        **settings.store_settings(),
        "limit": settings.limit,
    }
    with StoreWriter(folder, made_from, restart=restart) as writer:
        with progress_bar(console) as bar:
            utterances, content, same, left_out, unread = _select(corpus, source, settings.limit, bar)
            modalities = _modalities(corpus, utterances)
            plan = _plan(corpus, modalities, utterances, content, writer)
            missing = [(path, items) for path, items in plan if not writer.has(path)]
            reader = UtteranceReader(
                settings.inputs,
                corpus.faces,
                modalities,
                no_face=settings.no_face,
                keep_wave=settings.wave,
            )
            maker = ItemMaker(reader, settings.precision)
            task = bar.add_task("decode", total=len(utterances))
            bar.advance(task, len(utterances) - sum(len(items) for _, items in missing))
            _make(missing, maker, content, workers, lambda count: bar.advance(task, count))
        notes = [
            *corpus.remarks(source),
            *_remarks(corpus, utterances, left_out, unread),
            *_shared(corpus, utterances, same),
        ]
        manifest = writer.finish(
            [path for path, _ in plan],
            {
                "name": corpus.name,
                "title": corpus.title,
                "licence": corpus.licence,
                "citation": corpus.citation,
                "modalities": list(modalities),
                "faces": corpus.faces if "faces" in modalities else "none",
                "label_set": corpus.label_set.to_dict(),
                "scales": None if corpus.scales is None else corpus.scales.to_dict(),
                "targets": {name: target.model_dump(mode="json") for name, target in corpus.targets.items()},
                "other_labels": {kind: labels.to_dict() for kind, labels in corpus.other_labels.items()},
                "label_counts": _label_counts(corpus.label_counts, [u.label for u in utterances]),
                "other_label_counts": {
                    kind: _label_counts(counts, [(u.other_labels or {}).get(kind) for u in utterances])
                    for kind, counts in corpus.other_label_counts.items()
                },
                "used_counts": dict(corpus.used_counts),
                "source": str(source),
                "versions": _versions(),
                "notes": notes,
                **({} if settings.limit is None else {"unread": unread}),
                "left_out": [{"id": item.id, "reason": item.reason, "part": item.part} for item in left_out],
            },
            {u.id: Origin(None if u.recording is None else u.recording.id, same.get(u.id)) for u in utterances},
        )
    if not manifest["account"]["used"]:
        first = manifest["left_out"][0]
        raise CorpusError(f"nothing of it can be used; first reason: {first['id']}: {first['reason']}", item=source)
    return _report(folder, manifest, len(plan), len(plan) - len(missing))


def _report(folder: Path, manifest: Mapping[str, Any], shards: int = 0, reused: int = 0) -> PrepareReport:
    gone = tuple(LeftOut(item["id"], item["reason"], item.get("part")) for item in manifest["left_out"])
    held = manifest["account"]["modalities"]
    lacking = {note for modality, note in _LACKING.items() if not held[modality]}
    noted = [row for row in Store(folder).rows if row["notes"]] if manifest["account"]["with_notes"] else []
    return PrepareReport(
        store=folder,
        corpus=manifest["name"],
        account=manifest["account"],
        left_out=gone,
        notes=tuple(manifest["notes"]),
        shards=shards,
        reused=reused,
        reasons=_reasons(gone),
        limit=manifest["settings"].get("limit"),
        unread=manifest.get("unread", {}),
        noted={row["id"]: "; ".join(row["notes"]) for row in noted if not lacking.issuperset(row["notes"])},
        modalities=tuple(manifest["modalities"]),
        targets={name: Target.parse(target) for name, target in manifest.get("targets", {}).items()},
        label_counts=manifest.get("label_counts", {}),
        other_label_counts=manifest.get("other_label_counts", {}),
        words_only={
            row["id"]: "; ".join(row["notes"])
            for row in noted
            if tuple(manifest["modalities"]) != ("text",) and not row["faces_count"] and not row["mel_chunks_count"]
        },
        used_counts=manifest.get("used_counts", {}),
    )


def _select(
    corpus: Corpus, source: Path, limit: int | None, bar: Progress
) -> tuple[list[Utterance], dict[str, str], dict[str, str], list[LeftOut], dict[str, int]]:
    """The utterances to use, what is left out before anything is decoded, and how many of each part the limit spares.

    Of each utterance: the hash of what it is made of, and the hash by which its recording (or words, where they are
    what tells items apart) is known again.
    """
    left_out: list[LeftOut] = []
    utterances: list[Utterance] = []
    for item in corpus.items(source):
        if isinstance(item, LeftOut):
            left_out.append(item)
        else:
            utterances.append(item)
    unread: dict[str, int] = {}
    if limit is not None:
        all_of = Counter(u.part or "none" for u in utterances)
        unread = {part: count - limit for part, count in all_of.items() if count > limit}
        utterances = _spread(utterances, limit)
    if len({u.id for u in utterances}) < len(utterances):
        ids = sorted(u.id for u in utterances)
        twice = next(a for a, b in pairwise(ids) if a == b)
        raise CorpusError(f"the id {twice!r} is used twice", item=source)
    content: dict[str, str] = {}
    files: dict[Path, str] = {}
    recordings: dict[str, str] = {}
    task = bar.add_task("read", total=len(utterances))
    for utterance in utterances:
        bar.advance(task)
        hashes = []
        recording = utterance.recording
        for path in dict.fromkeys(p for p in (recording.video, recording.audio) if p is not None) if recording else ():
            if path not in files:
                files[path] = content_hash(path)
            hashes.append(files[path])
        if hashes:
            recordings[utterance.id] = hashes[0]
        text = " ".join((utterance.text or "").lower().split())
        stretch = [utterance.start_s, utterance.end_s, text, *_which(recording)]
        content[utterance.id] = digest(hashes, *stretch) if hashes else digest(text)
    gone: dict[str, str] = {}
    if corpus.identity == "media":
        gone = repeats(utterances, recordings)
    elif corpus.identity == "text":
        gone = repeats(utterances, content)
        recordings = content
    elif corpus.identity == "clip":
        utterances = _one_part_each(utterances, recordings)
        for utterance in utterances:
            if utterance.recording is None and utterance.id in recordings:
                del recordings[utterance.id]
                content[utterance.id] = digest(" ".join((utterance.text or "").lower().split()))
    left_out += [LeftOut(u.id, gone[u.id], u.part) for u in utterances if u.id in gone]
    utterances = [u for u in utterances if u.id not in gone]
    if not utterances:
        why = f"; first reason: {left_out[0].reason}" if left_out else ""
        raise CorpusError(f"holds nothing that can be used{why}", item=source)
    return utterances, content, recordings, left_out, unread


def _spread(utterances: Sequence[Utterance], limit: int) -> list[Utterance]:
    """So many utterances of each part, in their order: one of each label first, then labels as often as in the part.

    Those of a label are evenly spaced, so that they are not all of the speaker who comes first.
    """
    parts: dict[str | None, dict[str | tuple[str, ...] | None, list[int]]] = {}
    for number, utterance in enumerate(utterances):
        label = utterance.label if isinstance(utterance.label, str | tuple) else None
        parts.setdefault(utterance.part, {}).setdefault(label, []).append(number)
    kept = []
    for labels in parts.values():
        counts = dict.fromkeys(labels, 0)
        for _ in range(min(limit, sum(map(len, labels.values())))):
            shares = {label: counts[label] / len(numbers) for label, numbers in labels.items()}
            counts[min(shares, key=shares.__getitem__)] += 1
        for label, numbers in labels.items():
            kept += [numbers[(2 * i + 1) * len(numbers) // (2 * counts[label])] for i in range(counts[label])]
    return [utterances[number] for number in sorted(kept)]


def _one_part_each(utterances: Sequence[Utterance], recordings: Mapping[str, str]) -> list[Utterance]:
    """The utterances, without the files that a later part has too."""
    last: dict[str, Utterance] = {}
    for utterance in utterances:
        if (key := recordings.get(utterance.id)) is not None:
            known = last.setdefault(key, utterance)
            if PARTS.index(utterance.part or "train") > PARTS.index(known.part or "train"):
                last[key] = utterance
    kept = []
    for utterance in utterances:
        other = last.get(recordings.get(utterance.id, ""), utterance)
        if other.part != utterance.part:
            note = f"no clip: its file is the same as that of {other.id}"
            utterance = replace(utterance, recording=None, start_s=0.0, end_s=None, notes=(*utterance.notes, note))
        kept.append(utterance)
    return kept


def _modalities(corpus: Corpus, utterances: Sequence[Utterance]) -> tuple[Modality, ...]:
    """What the store may hold: of a source without media, the words alone."""
    if any(u.recording is not None for u in utterances):
        return corpus.modalities
    return tuple(m for m in corpus.modalities if m == "text")


def _which(recording: Recording | None) -> list[object]:
    """What says which part of its files a recording is; nothing where it is all of them."""
    if recording is None:
        return []
    which = [recording.crop, recording.channel, recording.audio_starts_s or None]
    return [] if which == [None, None, None] else list(which)


def _plan(
    corpus: Corpus,
    modalities: tuple[Modality, ...],
    utterances: Sequence[Utterance],
    content: Mapping[str, str],
    writer: StoreWriter,
) -> list[tuple[Path, list[Utterance]]]:
    """Which shard holds which utterances. A shard is named by everything that its bytes depend on."""
    kind = "text" if modalities == ("text",) else "crops" if corpus.faces == "crops" else "media"
    size = _ITEMS_PER_SHARD[kind]
    plan = []
    for first in range(0, len(utterances), size):
        items = list(utterances[first : first + size])
        plan.append((writer.shard_path([f"{content[u.id]} {_key(u)}" for u in items]), items))
    return plan


def _key(u: Utterance) -> str:
    """What an item's bytes depend on besides the content of its files."""
    known = (u.id, u.part, u.label, u.text, u.speaker, u.dialogue, u.start_s, u.end_s)
    # Only where it is there: shards of earlier versions keep their names.
    later = {"session": u.session, "scales": u.scales, "other_labels": u.other_labels, "notes": u.notes or None}
    given = {name: value for name, value in later.items() if value is not None}
    return digest(*known, given) if given else digest(*known)


def _make(
    missing: Sequence[tuple[Path, list[Utterance]]],
    maker: ItemMaker,
    content: Mapping[str, str],
    workers: int,
    advance: Callable[[int], None],
) -> None:
    if workers <= 1 or len(missing) <= 1:
        for path, items in missing:
            write_shard(path, maker.items(items, content), lambda: advance(1))
        return
    # Fresh processes: forking one that holds threads and the store's lock is unsafe.
    pool = ProcessPoolExecutor(min(workers, len(missing)), multiprocessing.get_context("spawn"), _begin_worker)
    try:
        jobs = {
            pool.submit(_make_one, path, items, maker, {u.id: content[u.id] for u in items}): len(items)
            for path, items in missing
        }
        for job in as_completed(jobs):
            job.result()
            advance(jobs[job])
    except BrokenProcessPool as error:
        raise StoreError(
            "a worker was killed while it decoded, as happens when memory runs out",
            item=missing[0][0].parent.parent,
            remedy=f"Use fewer than {workers} workers; what is finished is kept, and the same command goes on.",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    torch.set_num_threads(1)


def _make_one(path: Path, items: list[Utterance], maker: ItemMaker, content: dict[str, str]) -> None:
    write_shard(path, maker.items(items, content))


def _remarks(
    corpus: Corpus, utterances: Sequence[Utterance], left_out: Sequence[LeftOut], unread: Mapping[str, int]
) -> list[str]:
    """What a reader of the store should know: labels that are missing, parts of another size than published."""
    items: list[Utterance | LeftOut] = [*utterances, *left_out]
    counts = Counter(item.part or "none" for item in items) + Counter(unread)
    counts["all"] = counts.total()
    unlabelled = not any(u.label or u.scales or u.other_labels for u in utterances)
    return ["no item has a label or a value: nothing can be trained or scored on this store"] * unlabelled + [
        f"{'the source' if part == 'all' else part} has {counts[part]} items; the corpus is distributed with {official}"
        for part, official in corpus.counts.items()
        if counts[part] != official
    ]


def _shared(corpus: Corpus, utterances: Sequence[Utterance], same: Mapping[str, str]) -> list[str]:
    """That the corpus' own parts are no honest split, where they are none."""
    members = [Member.of(u, corpus.name, same.get(u.id)) for u in utterances]
    words = in_words(OfficialSplit().split(members).overlaps(members))
    return [f"its own parts overlap: {'; '.join(words)}; see `maeum splits`"] if words else []


def _label_counts(published: Mapping[str, int], labels: Sequence[object]) -> dict[str, dict[str, int]]:
    """Label -> how many items the source has, and how many were published."""
    found = Counter(label for label in labels if isinstance(label, str))
    return {label: {"found": found[label], "published": count} for label, count in published.items()}


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


def _first(things: Sequence[str]) -> str:
    """The first few, in words."""
    return ", ".join(things[:_EXAMPLES]) + (" ..." if len(things) > _EXAMPLES else "")


def _versions() -> dict[str, str]:
    return {
        "maeum": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "av": version("av"),
    }


__all__ = ["PrepareConfig", "PrepareReport", "prepare"]
