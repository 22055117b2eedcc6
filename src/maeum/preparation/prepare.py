"""Prepare a corpus: read it as its authors distribute it, prove its parts disjoint, decode it once into a store."""

from __future__ import annotations

import multiprocessing
import platform
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from rich.console import Console

from maeum import __version__
from maeum.config import Config
from maeum.corpora import make_corpus
from maeum.corpora.base import Corpus, LeftOut
from maeum.corpora.overlaps import Member, format_overlaps
from maeum.corpora.splits import OfficialSplit
from maeum.data.shards import digest
from maeum.data.store_writer import Origin, StoreWriter, write_shard
from maeum.errors import CorpusError, RenamedSettingWarning, StoreError
from maeum.inputs.settings import ClipSettings
from maeum.inputs.utterances import UtteranceReader
from maeum.preparation.collage import CollageOptions, prepare_collage
from maeum.preparation.items import ItemMaker
from maeum.preparation.prepare_report import PrepareReport, report_of
from maeum.preparation.selection import Selection, select
from maeum.progress import progress_bar
from maeum.types import Modality, Recording, Utterance
from maeum.wording import counted

_ITEMS_PER_SHARD = {"text": 4096, "crops": 2048, "media": 64}


class PrepareConfig(Config):
    """What a prepared corpus depends on besides its files."""

    inputs: ClipSettings = ClipSettings()
    """How media become clips; models that are trained on the store are used with the same settings."""
    no_face: Literal["leave-out", "centre-crop"] = "leave-out"
    """What becomes of a frame without a face: it is left out, or its centre is taken as the published code does."""
    precision: Literal["float16", "float32"] = "float16"
    """Of the log-mel chunks on disk; float16 is off by at most 0.4 % of power, at half the size."""
    wave: bool = True
    """Keep the sound itself too, 16 kHz mono, which pretrained speech encoders and `maeum transcribe` read: 32 kB a
    second, beside 20 kB of log-mel."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The corpus' own options; each corpus documents its own."""
    limit: int | None = Field(default=None, ge=1, le=1_000_000_000)
    """Prepare at most so many items of each part (of each label of a collage), for a trial; spread over its labels."""

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
        return report_of(folder, prepare_collage(source, folder, options, restart=restart, console=console))
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

            def begin(total: int) -> Callable[[], None]:
                task = bar.add_task("read", total=total)
                return lambda: bar.advance(task)

            selected = select(corpus, source, settings.limit, begin)
            modalities = _modalities(corpus, selected.utterances)
            plan = _plan(corpus, modalities, selected, writer)
            missing = [(path, items) for path, items in plan if not writer.has(path)]
            reader = UtteranceReader(
                settings.inputs, corpus.faces, modalities, no_face=settings.no_face, keep_wave=settings.wave
            )
            maker = ItemMaker(reader, settings.precision)
            total = len(selected.utterances)
            task = bar.add_task("decode", total=total, completed=total - sum(len(items) for _, items in missing))
            _make(missing, maker, selected.content, workers, lambda count: bar.advance(task, count))
        media_root = source.absolute() if source.is_dir() else source.absolute().parent
        manifest = writer.finish(
            [path for path, _ in plan],
            {
                **_about(corpus),
                **_published_counts(corpus, selected.utterances),
                "modalities": list(modalities),
                "faces": corpus.faces if "faces" in modalities else "none",
                "source": str(source.absolute()),
                "media_root": str(media_root),
                "versions": _versions(),
                "notes": [*corpus.remarks(source), *_notes(corpus, selected)],
                **({} if settings.limit is None else {"unread": dict(selected.beyond_limit)}),
                "left_out": [{"id": item.id, "reason": item.reason, "part": item.part} for item in selected.left_out],
            },
            {u.id: _origin(u.recording, selected.recordings.get(u.id), media_root) for u in selected.utterances},
        )
    if not manifest["account"]["used"]:
        first = manifest["left_out"][0]
        raise CorpusError(f"nothing of it can be used; first reason: {first['id']}: {first['reason']}", item=source)
    return report_of(folder, manifest, len(plan), len(plan) - len(missing))


def _origin(recording: Recording | None, recording_hash: str | None, media_root: Path) -> Origin:
    path = None if recording is None else recording.video or recording.audio
    if recording is None or path is None:
        return Origin(None if recording is None else recording.id, recording_hash)
    path = path.absolute()
    media = path.relative_to(media_root) if path.is_relative_to(media_root) else path
    return Origin(recording.id, recording_hash, media.as_posix())


def _modalities(corpus: Corpus, utterances: Sequence[Utterance]) -> tuple[Modality, ...]:
    """What the store may hold: of a source without media, the words alone."""
    if any(u.recording is not None for u in utterances):
        return corpus.modalities
    return tuple(m for m in corpus.modalities if m == "text")


def _plan(
    corpus: Corpus,
    modalities: tuple[Modality, ...],
    selected: Selection,
    writer: StoreWriter,
) -> list[tuple[Path, list[Utterance]]]:
    """Shards and their utterances. A shard is named by everything that its bytes depend on."""
    kind = "text" if modalities == ("text",) else "crops" if corpus.faces == "crops" else "media"
    size = _ITEMS_PER_SHARD[kind]
    groups = [list(selected.utterances[i : i + size]) for i in range(0, len(selected.utterances), size)]
    return [(writer.shard_path([f"{selected.content[u.id]} {_hash_of_fields(u)}" for u in g]), g) for g in groups]


def _hash_of_fields(u: Utterance) -> str:
    """Hash of what an item's bytes depend on besides the content of its files."""
    return digest(u.id, u.part, u.label, u.text, u.speaker, u.dialogue, u.session, u.start_s, u.end_s, u.scales,
                  u.other_labels, u.notes)  # fmt: skip


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


def _about(corpus: Corpus) -> dict[str, Any]:
    """The part of the manifest that says what the corpus is."""
    return {
        "name": corpus.name,
        "title": corpus.title,
        "licence": corpus.licence,
        "citation": corpus.citation,
        "label_set": corpus.label_set.to_dict(),
        "scales": None if corpus.scales is None else corpus.scales.to_dict(),
        "targets": {name: target.model_dump(mode="json") for name, target in corpus.targets.items()},
        "other_labels": {kind: labels.to_dict() for kind, labels in corpus.other_labels.items()},
    }


def _published_counts(corpus: Corpus, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Numbers of items of each label in the source beside the published ones."""

    def beside(published: Mapping[str, int], labels: Sequence[object]) -> dict[str, dict[str, int]]:
        found = Counter(label for label in labels if isinstance(label, str))
        return {label: {"found": found[label], "published": count} for label, count in published.items()}

    return {
        "label_counts": beside(corpus.label_counts, [u.label for u in utterances]),
        "other_label_counts": {
            kind: beside(counts, [(u.other_labels or {}).get(kind) for u in utterances])
            for kind, counts in corpus.other_label_counts.items()
        },
        "used_counts": dict(corpus.used_counts),
    }


def _notes(corpus: Corpus, selected: Selection) -> list[str]:
    """What a reader of the store should know: no labels, parts of another size than published, parts that overlap."""
    items: list[Utterance | LeftOut] = [*selected.utterances, *selected.left_out]
    counts = Counter(item.part or "none" for item in items) + Counter(selected.beyond_limit)
    counts["all"] = counts.total()
    notes = []
    if not any(u.label or u.scales or u.other_labels for u in selected.utterances):
        notes.append("no item has a label or a value: nothing can be trained or scored on this store")
    notes += [
        f"{'the source' if part == 'all' else part} has {counted(counts[part], 'item')}; "
        f"the corpus is distributed with {official}"
        for part, official in corpus.counts.items()
        if counts[part] != official
    ]
    members = [Member.of(u, corpus.name, selected.recordings.get(u.id)) for u in selected.utterances]
    if shared := format_overlaps(OfficialSplit().split(members).overlaps(members)):
        notes.append(f"its own parts overlap: {'; '.join(shared)}; see `maeum splits`")
    return notes


def _versions() -> dict[str, str]:
    return {
        "maeum": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "av": version("av"),
    }


__all__ = ["PrepareConfig", "PrepareReport", "prepare"]
