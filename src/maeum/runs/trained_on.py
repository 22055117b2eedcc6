"""What a model was trained on: its split, and the traces by which an item that it knows is recognised later."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Sequence
from itertools import chain
from pathlib import Path

from maeum.config import Config
from maeum.corpora.base import PARTS
from maeum.corpora.overlaps import KINDS, Keys, Kind, Member, format_allowed, keys_of, overlaps, refuse
from maeum.corpora.splits import Split, SplitConfig, format_unmatched
from maeum.corpora.targets import Target
from maeum.data.dataset import ClipDataset
from maeum.data.store import Store
from maeum.errors import ModelError

_FILE = "split.json"


class KnownSplit(Config):
    """A split of a corpus as a model keeps it."""

    name: str
    """Name of the split."""
    seed: int | None = None
    """Its seed, where it was drawn at random."""
    parts: dict[str, tuple[str, ...]]
    """Part -> traces (hashes) of its utterances."""


class TrainedOn(Config):
    """Kept beside a model's weights as ``split.json``, so that whoever scores it later knows what it has seen.

    Ids and names are kept as hashes: a model can be handed on without saying who it was trained on.

    """

    settings: SplitConfig
    """The split as it was requested."""
    target: str | Target | None = None
    """What was learned of the corpora."""
    splits: dict[str, KnownSplit]
    """Corpus -> its split."""
    seen: dict[str, dict[Kind, tuple[str, ...]]]
    """``train`` and ``dev`` -> kind -> traces of what is in it."""
    calibrated: tuple[str, ...] = ()
    """Traces of the utterances that `maeum calibrate` fitted temperatures, thresholds or margins on."""
    allow_overlap: bool = False
    """Whether the recipe allowed its parts to share something."""
    overlap: tuple[str, ...] = ()
    """What they share: ``20 speakers shared by train and dev``."""

    @classmethod
    def read(cls, model: Path | None) -> TrainedOn | None:
        """That of a model folder; None for a model that has none. Raises ConfigError on a damaged one."""
        path = None if model is None else model / _FILE
        return cls.load(path) if path is not None and path.is_file() else None

    def write(self, model: Path) -> None:
        """Put it into a model folder; raises ModelError."""
        try:
            model.mkdir(parents=True, exist_ok=True)
            self.save(model / _FILE, ModelError)
        except OSError as error:
            raise ModelError(f"cannot be written ({error})", item=model, remedy="Choose another folder.") from error

    def split(self, store: Store) -> Split | None:
        """The split that it was trained with, of a store of the same corpus; None of others."""
        known = self.splits.get(str(store.manifest["name"]))
        if known is None:
            return None
        part_of = {trace: part for part, traces in known.parts.items() for trace in traces}
        traces = [(member.id, _utterance(member)) for member in store.members()]
        parts = {id: part_of[trace] for id, trace in traces if trace in part_of}
        strange = [id for id, trace in traces if trace not in part_of]
        none = "in none of the parts that the model was trained with"
        note = format_unmatched(strange, "utterance", f"is {none}", f"are {none}")
        return Split(known.name, parts, known.seed, (note,) if note else ()) if parts else None

    def shared(self, scored: Iterable[Member], name: str, *, allow: bool = False) -> tuple[str, ...]:
        """What scores on these items have to carry: what they share with the training items, and what train and dev do.

        Args:
            scored: the items.
            name: what they are called in messages, such as ``test``.
            allow: whether they may share anything.

        Raises:
            CorpusError: when they share something with the training items, and neither this call nor the recipe of the
                training allows that.
        """
        name = name if name != "train" else "the scored items"
        known: Keys = {kind: dict.fromkeys(traces, ("", "")) for kind, traces in self.seen["train"].items()}
        found = overlaps({"train": known, name: _traced(keys_of(scored))})
        return tuple(dict.fromkeys((*self.overlap, *refuse(found, allow=allow or self.allow_overlap))))

    def chosen_on(self, scored: Iterable[Member]) -> int:
        """How many of these items are among those on which the model's best epoch was chosen."""
        return _known_among(scored, self.seen["dev"].get("utterance", ()))

    def calibrated_on(self, scored: Iterable[Member]) -> int:
        """How many of these items are among those that the finished model was calibrated on."""
        return _known_among(scored, self.calibrated)

    def after_calibration(self, items: Iterable[Member]) -> TrainedOn:
        """The same of a model that was calibrated on these items, too."""
        traces = {trace(key) for member in items for key in member.keys("utterance")}
        return self.model_copy(update={"calibrated": tuple(sorted(traces.union(self.calibrated)))})


def trained_on(
    settings: SplitConfig,
    splits: Sequence[tuple[Store, Split]],
    train_set: ClipDataset,
    dev_set: ClipDataset,
    *,
    target: str | Target | None = None,
    tested: Container[str],
    sources: Sequence[TrainedOn] = (),
    allow_overlap: bool,
) -> TrainedOn:
    """Prove that what is trained on, chosen on and later tested on are apart, and describe it.

    Args:
        settings: the splits as they were requested.
        target: what is learned of the corpora.
        splits: each store and its split.
        train_set: the training items.
        dev_set: the dev items.
        tested: corpora of which the test items are compared, too.
        sources: of models from which the training starts; what they have seen, it has seen.
        allow_overlap: whether they may share something; what they share is in ``overlap`` then.

    Raises:
        CorpusError: when they share something.
    """
    test = (m for store, split in splits if store.manifest["name"] in tested for m in _in_test(store, split))
    parts = {"train": train_set.members(), "dev": dev_set.members(), "test": test}
    keys = {part: _traced(keys_of(members)) for part, members in parts.items()}
    for source in sources:
        for kind, traces in source.seen["train"].items():
            keys["train"][kind] = {**dict.fromkeys(traces, ("", "")), **keys["train"][kind]}
    shared = refuse(overlaps(keys), allow=allow_overlap)
    return TrainedOn(
        settings=settings,
        target=target,
        splits=_known(splits),
        seen={
            part: {kind: tuple(sorted(found)) for kind, found in keys[part].items() if found}
            for part in ("train", "dev")
        },
        allow_overlap=allow_overlap,
        overlap=tuple(dict.fromkeys((*chain(*(source.overlap for source in sources)), *shared))),
    )


def _known_among(items: Iterable[Member], traces: Sequence[str]) -> int:
    known = set(traces)
    return sum(any(trace(key) in known for key in member.keys("utterance")) for member in items)


def _in_test(store: Store, split: Split) -> list[Member]:
    return split.members(store.members()).get("test", [])


def trace(key: str) -> str:
    """A hash of an id or a name, short enough to keep and too long to meet by chance (48 bits)."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _utterance(member: Member) -> str:
    return trace(f"{member.id}\n{member.content or ''}")


def _known(splits: Sequence[tuple[Store, Split]]) -> dict[str, KnownSplit]:
    """By corpus; stores of one corpus are taken together."""
    known: dict[str, KnownSplit] = {}
    for store, split in splits:
        name, members = str(store.manifest["name"]), split.members(store.members())
        before = known[name].parts if name in known else {}
        parts = {
            part: (*before.get(part, ()), *(_utterance(m) for m in members.get(part, ())))
            for part in PARTS
            if part in before or part in members
        }
        known[name] = KnownSplit(name=split.name, seed=split.seed, parts=parts)
    return known


def _traced(keys: Keys) -> dict[Kind, dict[str, tuple[str, str]]]:
    return {kind: {trace(key): name for key, name in keys[kind].items()} for kind in KINDS}


def notes_of(known: bool, chosen_on: int, calibrated_on: int) -> tuple[str, ...]:
    """Notes for a reader of scores on what the model knows of the scored items; counts: see `TrainedOn`."""
    if not known:
        return ("the model does not record which items it was trained on, so these items may be among it",)
    chosen = f"on {chosen_on} of these items the model's best epoch was chosen" if chosen_on else ""
    calibrated = f"on {calibrated_on} of these items the model was calibrated" if calibrated_on else ""
    return tuple(filter(None, (chosen, calibrated)))


__all__ = ["KnownSplit", "TrainedOn", "format_allowed", "notes_of", "trace", "trained_on"]
