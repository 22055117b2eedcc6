"""Prepared corpora as sequences of clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from maeum.corpora.base import LeftOut
from maeum.corpora.overlaps import Member
from maeum.corpora.splits import Split
from maeum.corpora.targets import Target
from maeum.data.row_targets import RowTargets, check_sessions
from maeum.data.store import Store, spoken_text_of
from maeum.errors import ConfigError, StoreError
from maeum.labels import LabelSet
from maeum.types import MODALITIES, Clip, Modality, Sound
from maeum.wording import counted


@dataclass(frozen=True)
class Lengths:
    """How long an item is in each modality, known without reading it. text_chars: characters of its text."""

    frames: int
    mel_chunks: int
    text_chars: int

    @property
    def cost(self) -> float:
        """About how much work it is, by which batches are filled."""
        return self.frames + self.mel_chunks + self.text_chars / 50


def left_out_notes(left_out: Iterable[LeftOut]) -> tuple[str, ...]:
    """What is left out and why: a line for each reason."""
    reasons = Counter(item.reason for item in left_out)
    return tuple(f"{counted(count, 'item')} left out: {reason}" for reason, count in reasons.most_common())


def format_reasons(reasons: Iterable[str]) -> str:
    """The most frequent reasons why items are left out: ``6 have none of faces; 1 has no label``."""
    found = []
    for reason, number in Counter(reasons).most_common(3):
        verb, _, rest = reason.partition(" ")
        found.append(f"{number} {'have' if number > 1 else 'has'} {rest}" if verb == "has" else f"{number} x {reason}")
    return "; ".join(found)


class ClipDataset(Dataset[Clip], ABC):
    """What every sequence of clips can tell about itself without reading its media."""

    label_set: LabelSet
    left_out: tuple[LeftOut, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Clip: ...

    @property
    @abstractmethod
    def ids(self) -> tuple[str, ...]:
        """The utterances' ids."""

    @property
    @abstractmethod
    def lengths(self) -> tuple[Lengths, ...]:
        """The items' lengths, for batches of like length."""

    @abstractmethod
    def targets(self) -> tuple[Tensor | None, ...]:
        """The items' targets."""

    @abstractmethod
    def item_speakers(self) -> tuple[str | None, ...]:
        """The items' speakers."""

    @abstractmethod
    def texts(self) -> tuple[str | None, ...]:
        """The items' words; None where an item has none, or they are not requested."""

    @abstractmethod
    def spoken_texts(self) -> tuple[str | None, ...]:
        """The words of the items' sound; None where that is unknown, or there is no sound to read."""

    @abstractmethod
    def members(self) -> tuple[Member, ...]:
        """What decides with whom each item may share a part."""

    def left_out_notes(self) -> tuple[str, ...]:
        """What is left out and why: a line for each reason."""
        return left_out_notes(self.left_out)

    def present(self) -> tuple[Modality, ...]:
        """The modalities that at least one item has."""
        lengths = self.lengths
        present = {"faces": any(n.frames for n in lengths), "speech": any(n.mel_chunks for n in lengths),
                   "text": any(n.text_chars for n in lengths)}  # fmt: skip
        return tuple(m for m in MODALITIES if present[m])

    def speakers(self) -> set[str]:
        """Everybody who speaks."""
        return {speaker for speaker in self.item_speakers() if speaker is not None}


class StoreDataset(ClipDataset):
    """One part of a prepared corpus. Safe in loader workers; reads a clip from disk on each access.

    Args:
        store: its folder, or an open `Store`.
        part: ``train``, ``dev`` or ``test``; None is everything.
        label_set: what targets are made for; the store's own when None. Labels are matched by name. With a single-label
            set, items of a multi-label store without exactly one label are left out, and listed in ``left_out``.
        target: which of the store's labels, or scales, are meant: the name of one of its targets, or one of your own.
            Items that are no part of it are left out, and listed.
        split: says which item is in which part; the store's own parts count when None.
        sessions: only these, when given; ``part`` None and sessions make the folds of a cross-validation.
        modalities: which to give, all when None. Items with none of them are left out, and listed.
        views: store of `maeum augment` with the items' augmented views, which are given with them.
        transcripts: id -> words, in the place of those that the store has; an item without any has no text.
        sound: speech as log-mel ``mel_chunks``, or as the ``wave`` itself, which a store has that was prepared
            to hold it.
        labelled: leave out items without a label too, and list them.

    Raises:
        StoreError: when the store cannot be read, or has no such part.
        ConfigError: when a label of the store is not in the label set, or it has no such target.
    """

    def __init__(
        self,
        store: Store | Path | str,
        part: str | None = None,
        label_set: LabelSet | None = None,
        modalities: Sequence[Modality] | None = None,
        *,
        labelled: bool = False,
        target: str | Target | None = None,
        split: Split | None = None,
        sessions: Sequence[str] | None = None,
        sound: Sound = "mel_chunks",
        views: Store | Path | None = None,
        transcripts: Mapping[str, str] | None = None,
    ) -> None:
        self.store = store if isinstance(store, Store) else Store(store)
        self.part = part
        row_targets = RowTargets(self.store, target, label_set)
        self.target, self.label_set = row_targets.target, row_targets.label_set
        check_sessions(self.store, sessions or ())
        self.modalities: tuple[Modality, ...] = MODALITIES if modalities is None else tuple(modalities)
        self.sound, self.transcripts = sound, transcripts
        if unknown := set(self.modalities) - set(MODALITIES):
            raise ConfigError(f"unknown modality {sorted(unknown)[0]!r}", remedy=f"Choose of {', '.join(MODALITIES)}.")
        rows, targets, left_out = [], [], []
        for number, row in enumerate(self.store.rows):
            in_part = row["part"] if split is None else split.parts.get(row["id"])
            if (part is not None and in_part != part) or (sessions is not None and row["session"] not in sessions):
                continue
            if not any(self._has(row, m) for m in self.modalities):
                left_out.append(LeftOut(row["id"], self._nothing_to_read))
                continue
            encoded, reason = row_targets(row)
            if labelled and encoded is None and reason is None:
                kind = None if self.target is None else self.target.of
                reason = "has no label" if kind is None else f"has no label of the kind {kind}"
            if reason is not None:
                left_out.append(LeftOut(row["id"], reason))
                continue
            rows.append(number)
            targets.append(encoded)
        if sound == "wave" and "speech" in self.modalities:
            self.store.check_waves((self.store.rows[number] for number in rows), "this network")
        if not rows and left_out:
            raise StoreError(
                f"none of the {counted(len(left_out), 'item')} of {part or 'the store'} can be used: "
                + format_reasons(i.reason for i in left_out),
                item=self.store.folder,
                remedy=self._remedy({i.reason for i in left_out}),
            )
        if not rows:
            in_parts = (row["part"] for row in self.store.rows) if split is None else split.parts.values()
            present = sorted({str(name) for name in in_parts if name is not None})
            remedy = f"Its parts: {', '.join(present)}." if present else self._split_remedy()
            raise StoreError(f"has nothing in part {part!r}", item=self.store.folder, remedy=remedy)
        self._rows, self._targets, self.left_out = rows, tuple(targets), tuple(left_out)
        self.views = None if views is None else views if isinstance(views, Store) else Store(views)
        self._view_of = {} if self.views is None else {row["id"]: i for i, row in enumerate(self.views.rows)}
        if self.views is not None and self.views.manifest.get("views_of") != self.store.manifest["name"]:
            raise StoreError(f"holds no augmented views of {self.store.manifest['name']}", item=self.views.folder,
                             remedy=f"Make them with: maeum augment {self.store.folder} --out ...")  # fmt: skip
        if transcripts is not None and not any(row["id"] in transcripts for row in self.store.rows):
            raise StoreError("none of its utterances is in the transcripts", item=self.store.folder,
                             remedy="Make them of this corpus with `maeum transcribe`.")  # fmt: skip
        if self.views is not None and not any(id in self._view_of for id in self.ids):
            raise StoreError("has the augmented view of none of these items", item=self.views.folder,
                             remedy=f"Make them with: maeum augment {self.store.folder} --out ...")  # fmt: skip

    @property
    def _nothing_to_read(self) -> str:
        """Why an item is left out that has nothing of what is read."""
        return f"has none of {', '.join(self.modalities)}"

    def _remedy(self, reasons: Set[str]) -> str:
        """What can be done where every item is left out for one of these reasons."""
        can = []
        if self._nothing_to_read in reasons and set(self.modalities) != set(MODALITIES):
            can.append("read other modalities")
        if reasons - {self._nothing_to_read} and (self.target is not None or self.store.manifest.get("targets")):
            can.append("name another target")
        return f"{' or '.join(can) or 'name another corpus or part'}.".capitalize()

    def _split_remedy(self) -> str:
        """How the items get parts, of which they have none."""
        whole = next((name for name in ("speaker", "recording") if all(r[name] for r in self.store.rows)), "utterance")
        split = f"{{kind: random, by: {whole}}}"
        return (
            f"Its items are in no part; choose a split, such as split: {split} in a recipe, or --split '{split}' "
            "where models are scored."
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Clip:
        number = self._rows[index]
        faces = self.store.array(number, "faces") if "faces" in self.modalities else None
        clip = self.clip(index, None if faces is None else torch.from_numpy(faces.copy()), None)
        clip = replace(clip, **self._sound(self.store, number))
        view = self._view_of.get(clip.id)
        return clip if view is None else replace(clip, view=self._view_clip(clip, view))

    def _has(self, row: Mapping[str, Any], modality: Modality) -> bool:
        if modality == "text":
            return bool((self._text(row) or "").strip())
        return bool(row["faces_count" if modality == "faces" else "mel_chunks_count"])

    def _text(self, row: Mapping[str, Any]) -> str | None:
        """The words of a row, as they are asked for."""
        if "text" not in self.modalities:
            return None
        text: str | None = row["text"] if self.transcripts is None else self.transcripts.get(row["id"])
        return text

    def _sound(self, store: Store, number: int) -> dict[str, Any]:
        """Mel chunks or wave of a row, under the name that a clip has for them."""
        if "speech" not in self.modalities:
            return {}
        stored = store.wave(number) if self.sound == "wave" else store.array(number, "mel_chunks")
        return {} if stored is None else {self.sound: torch.from_numpy(stored.astype(np.float32))}

    def _view_clip(self, clip: Clip, number: int) -> Clip:
        assert self.views is not None
        row = self.views.rows[number]
        text = row["text"] if "text" in self.modalities else None
        return Clip(id=clip.id, text=text, spoken_text=row["spoken_text"], **self._sound(self.views, number))

    def clip(self, index: int, faces: Tensor | None, mel_chunks: Tensor | None) -> Clip:
        """The item at that place with these arrays; what is not asked for is left out of it."""
        row = self.store.rows[self._rows[index]]
        return Clip(id=row["id"], faces=faces, mel_chunks=mel_chunks, text=self._text(row),
                    target=self._targets[index], speaker=row["speaker"], spoken_text=spoken_text_of(row))  # fmt: skip

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The items' rows of the index: id, part, label, text, speaker, dialogue, times, notes, provenance."""
        return tuple(self.store.rows[number] for number in self._rows)

    @property
    def ids(self) -> tuple[str, ...]:
        """See `ClipDataset`."""
        return tuple(row["id"] for row in self.rows)

    @property
    def lengths(self) -> tuple[Lengths, ...]:
        """See `ClipDataset`; a modality that is not asked for counts 0."""
        on = {m: m in self.modalities for m in MODALITIES}
        return tuple(
            Lengths(r["faces_count"] * on["faces"], r["mel_chunks_count"] * on["speech"], len(self._text(r) or ""))
            for r in self.rows
        )

    def targets(self) -> tuple[Tensor | None, ...]:
        """See `ClipDataset`."""
        return self._targets

    def item_speakers(self) -> tuple[str | None, ...]:
        """See `ClipDataset`."""
        return tuple(row["speaker"] for row in self.rows)

    def texts(self) -> tuple[str | None, ...]:
        """See `ClipDataset`."""
        return tuple(self._text(row) for row in self.rows)

    def view_texts(self) -> tuple[str | None, ...]:
        """The words of the items' augmented views."""
        if self.views is None or "text" not in self.modalities:
            return ()
        return tuple(self.views.rows[self._view_of[id]]["text"] for id in self.ids if id in self._view_of)

    def sounds(self, *, views: bool = True) -> Iterator[Tensor]:
        """The items' waves, then those of their augmented views, one by one; none where these are not asked for."""
        numbers = [(self.store, number) for number in self._rows]
        if views and self.views is not None:
            numbers += [(self.views, self._view_of[id]) for id in self.ids if id in self._view_of]
        for store, number in numbers if self.sound == "wave" else ():
            wave = self._sound(store, number).get("wave")
            if wave is not None:
                yield wave

    def spoken_texts(self) -> tuple[str | None, ...]:
        """See `ClipDataset`."""
        return tuple(
            spoken_text_of(row) if row["mel_chunks_count"] and "speech" in self.modalities else None
            for row in self.rows
        )

    def members(self) -> tuple[Member, ...]:
        """See `ClipDataset`."""
        members = self.store.members()
        mine = tuple(members[number] for number in self._rows)
        if self.views is None:
            return mine
        # Whoever lends a view its voice is in the training data, too.
        voices = {row["id"]: (row["provenance"] or {}).get("voice") for row in self.views.rows}
        return tuple(
            m if (voice := voices.get(m.id)) is None else replace(m, composed_of=(*m.sources, voice)) for m in mine
        )


class JointDataset(ClipDataset):
    """Several datasets one after the other.

    Raises:
        ConfigError: when there are none, their label sets differ, or an id is in two of them.
    """

    def __init__(self, datasets: Sequence[ClipDataset]) -> None:
        if not datasets:
            raise ConfigError("a joint dataset needs at least one dataset")
        self.datasets = tuple(datasets)
        self.label_set = datasets[0].label_set
        if any(d.label_set != self.label_set for d in datasets):
            raise ConfigError("the datasets have different label sets", remedy="Open them with one label_set.")
        repeated = [id for id, count in Counter(id for d in datasets for id in d.ids).items() if count > 1]
        if repeated:
            raise ConfigError(f"the id {repeated[0]!r} is in two of the datasets")
        self.left_out = tuple(item for d in datasets for item in d.left_out)
        self._ends = np.cumsum([len(d) for d in datasets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Clip:
        index = range(len(self))[index]
        which = int(np.searchsorted(self._ends, index, side="right"))
        return self.datasets[which][index - (int(self._ends[which - 1]) if which else 0)]

    @property
    def ids(self) -> tuple[str, ...]:
        """See `ClipDataset`."""
        return tuple(id for d in self.datasets for id in d.ids)

    @property
    def lengths(self) -> tuple[Lengths, ...]:
        """See `ClipDataset`."""
        return tuple(n for d in self.datasets for n in d.lengths)

    def targets(self) -> tuple[Tensor | None, ...]:
        """See `ClipDataset`."""
        return tuple(t for d in self.datasets for t in d.targets())

    def item_speakers(self) -> tuple[str | None, ...]:
        """See `ClipDataset`."""
        return tuple(s for d in self.datasets for s in d.item_speakers())

    def texts(self) -> tuple[str | None, ...]:
        """See `ClipDataset`."""
        return tuple(t for d in self.datasets for t in d.texts())

    def spoken_texts(self) -> tuple[str | None, ...]:
        """See `ClipDataset`."""
        return tuple(t for d in self.datasets for t in d.spoken_texts())

    def members(self) -> tuple[Member, ...]:
        """See `ClipDataset`."""
        return tuple(m for d in self.datasets for m in d.members())
