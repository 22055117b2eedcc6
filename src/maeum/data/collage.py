"""The collage: utterances put together from a real face, a real voice and a real sentence of one emotion.

The three come from different people, so a collage says nothing about people. It is an engineering set: it exercises and
compares the whole multimodal path on real signals where no labelled video is free to use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from maeum.config import MOST_SEED, Config
from maeum.corpora.overlaps import Member, format_overlaps, keys_of, overlaps
from maeum.data.shards import Array, StoreItem, digest
from maeum.data.store import Store
from maeum.data.store_writer import StoreWriter, write_shard
from maeum.errors import CorpusError
from maeum.labels import EKMAN
from maeum.types import Utterance

WARNING = (
    "A collage is an engineering set: each item combines a face, a voice and a sentence of different people that carry "
    "the same label. Scores on it are never results about people."
)
_ITEMS_PER_SHARD = 64
_Frames = Annotated[int, Field(ge=1, le=1000)]


class CollageConfig(Config):
    """How a collage is made."""

    per_label: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field(
        default_factory=lambda: {"train": 200, "dev": 50}
    )
    """Number of items of each label, by part."""
    frames: tuple[_Frames, _Frames] = (3, 8)
    """Fewest and most face frames of an item."""
    shift_px: int = Field(default=2, ge=0, le=8)
    """Each frame moves the face by up to so many pixels."""
    light: float = Field(default=0.05, ge=0, lt=1)
    """Each frame is brighter or darker by up to this fraction."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Fixes all random choices."""


@dataclass(frozen=True)
class _Source:
    """One row of a source store."""

    store: Store
    index: int

    @property
    def row(self) -> dict[str, Any]:
        return self.store.rows[self.index]

    @property
    def name(self) -> str:
        return f"{self.store.manifest['name']}:{self.row['id']}"


#: Modality -> label -> the items to choose from.
_Pools = dict[str, dict[str, list[_Source]]]

#: Id and label of an item, and the face, voice and sentence that it is made of.
_Recipe = tuple[str, str, tuple[_Source, _Source, _Source]]


def make_collage(
    faces: Sequence[Path | str],
    speech: Sequence[Path | str],
    text: Sequence[Path | str],
    out: Path | str,
    config: CollageConfig | None = None,
    *,
    restart: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> dict[str, Any]:
    """Make the store of a collage from prepared stores.

    An item's face is one image, shown in several frames with a little movement and light. Faces, voices and sentences
    of a label are used in shuffled rounds, so none is used twice before all were used once. Each part is made of the
    same part of the sources; a sentence that is in dev or test is not used in train, whichever store it is in.

    Args:
        faces: stores with faces.
        speech: stores with speech.
        text: stores with text and one label an item.
        out: folder of the new store.
        config: how; the defaults when None.
        restart: begin anew when the folder was made with other settings.
        advance: called with the number of items that were made.

    Returns:
        The manifest.

    Raises:
        CorpusError: when a label has no face, voice or sentence in a part.
        StoreError: when a store cannot be read or written.
    """
    config = config or CollageConfig()
    stores = {
        "faces": [Store(p) for p in faces],
        "speech": [Store(p) for p in speech],
        "text": [Store(p) for p in text],
    }
    pools = {part: _pools(stores, part) for part in config.per_label}
    shared = _separate(pools)
    sources = {m: [_describe(store) for store in group] for m, group in stores.items()}
    with StoreWriter(Path(out), {"corpus": "collage", "config": config.model_dump(mode="json"), "sources": sources},
                     restart=restart) as writer:  # fmt: skip
        plan = []
        for part, count in config.per_label.items():
            recipes = list(_recipes(pools[part], part, count, config.seed))
            for first in range(0, len(recipes), _ITEMS_PER_SHARD):
                chunk = recipes[first : first + _ITEMS_PER_SHARD]
                path = writer.shard_path([_key(id, parts) for id, _, parts in chunk])
                if not writer.has(path):
                    write_shard(path, (_compose(part, *recipe, config) for recipe in chunk))
                advance(len(chunk))
                plan.append(path)
        return writer.finish(plan, _manifest(stores, sources, shared))


def _key(id: str, parts: Sequence[_Source]) -> str:
    return digest(id, *(source.name + source.row["content"] for source in parts))


def _describe(store: Store) -> dict[str, str]:
    return {"name": store.manifest["name"], "settings": digest(store.manifest["settings"]),
            "content": digest([row["content"] for row in store.rows])}  # fmt: skip


def _pools(stores: Mapping[str, Sequence[Store]], part: str) -> _Pools:
    has = {"faces": "faces_count", "speech": "mel_chunks_count", "text": "text"}
    pools: _Pools = {m: {label: [] for label in EKMAN.names} for m in stores}
    for modality, group in stores.items():
        for store in group:
            for index, row in enumerate(store.rows):
                label = row["label"]
                if row["part"] == part and row[has[modality]] and isinstance(label, str) and label in EKMAN.names:
                    pools[modality][label].append(_Source(store, index))
        for label, pool in pools[modality].items():
            if not pool:
                raise CorpusError(f"no {modality} of {label} in {part}", item="collage",
                                  remedy="Give stores that hold every label in every part.")  # fmt: skip
    return pools


def _separate(pools: Mapping[str, _Pools]) -> tuple[str, ...]:
    """Take out of train what is also in dev or test; returns which speakers the parts share all the same."""
    held: dict[str, set[str]] = {"faces": set(), "speech": set(), "text": set()}
    for part in ("test", "dev", "train"):
        for modality, by_label in pools.get(part, {}).items():
            for label, pool in by_label.items():
                unique = [source for source in pool if _identity(source, modality) not in held[modality]]
                if not unique:
                    raise CorpusError(
                        f"every one of the {modality} of {label} in {part} is in a later part", item="collage"
                    )
                by_label[label] = unique
        for modality, by_label in pools.get(part, {}).items():
            held[modality] |= {_identity(source, modality) for pool in by_label.values() for source in pool}
    speakers = {
        part: keys_of(
            Member(s.row["id"], part, speaker=s.row["speaker"]) for pool in p["speech"].values() for s in pool
        )
        for part, p in pools.items()
    }
    return format_overlaps(overlaps(speakers))


def _identity(source: _Source, modality: str) -> str:
    return " ".join(source.row["text"].lower().split()) if modality == "text" else source.row["content"]


def _recipes(pools: _Pools, part: str, count: int, seed: int) -> Iterator[_Recipe]:
    """What each item is made of; labels alternate, so every shard holds all."""
    order = {}
    for number, label in enumerate(EKMAN.names):
        rng = np.random.default_rng([seed, sum(part.encode()), number])
        order[label] = tuple(_rounds(pools[m][label], count, rng) for m in ("faces", "speech", "text"))
    for i in range(count):
        for label in EKMAN.names:
            face, voice, sentence = (chosen[i] for chosen in order[label])
            yield f"collage-{part}-{label}-{i:05d}", label, (face, voice, sentence)


def _rounds(pool: Sequence[_Source], count: int, rng: np.random.Generator) -> list[_Source]:
    rounds = -(-count // len(pool))
    return [pool[i] for _ in range(rounds) for i in rng.permutation(len(pool))][:count]


def _compose(
    part: str, id: str, label: str, parts: tuple[_Source, _Source, _Source], config: CollageConfig
) -> StoreItem:
    face, voice, sentence = parts
    rng = np.random.default_rng([config.seed, *id.encode()])
    images = face.store.array(face.index, "faces")
    assert images is not None
    frames = int(rng.integers(config.frames[0], config.frames[1] + 1))
    provenance = {"face": face.name, "voice": voice.name, "sentence": sentence.name}
    return StoreItem(
        utterance=Utterance(id=id, speaker=voice.row["speaker"], text=sentence.row["text"], label=label, part=part),
        faces=_moving(images[0], frames, config, rng),
        mel_chunks=voice.store.array(voice.index, "mel_chunks"),
        wave=voice.store.array(voice.index, "wave"),
        spoken_text=voice.row["text"],
        content=digest(provenance, frames),
        provenance=provenance,
    )


def _moving(image: Array, frames: int, config: CollageConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """``(3, 48, 48)`` shown for some frames, each a little shifted (edges repeated), brighter or darker."""
    by = config.shift_px
    wide = np.pad(image, ((0, 0), (by, by), (by, by)), mode="edge")
    height, width = image.shape[1:]
    shown = []
    for _ in range(frames):
        top, left = rng.integers(0, 2 * by + 1, size=2)
        light = 1 + rng.uniform(-config.light, config.light)
        shown.append(np.clip(np.rint(wide[:, top : top + height, left : left + width] * light), 0, 255))
    return np.stack(shown).astype(np.uint8)


def _manifest(
    stores: Mapping[str, Sequence[Store]], sources: Mapping[str, Any], shared: Sequence[str]
) -> dict[str, Any]:
    """Names the origin and licence of all that a collage is made of."""
    unique = {store.manifest["name"]: store.manifest for group in stores.values() for store in group}
    inputs = (store.manifest["settings"].get("inputs", {}) for store in stores["speech"])
    trims = {bool(made_with.get("trim_silence", False)) for made_with in inputs}
    return {
        "name": "collage",
        "title": "Collage of " + ", ".join(unique),
        "warning": WARNING,
        "licence": "; ".join(f"{name}: {m['licence']}" for name, m in unique.items()),
        "citation": " ".join(m["citation"] for m in unique.values()),
        "modalities": list(stores),
        "label_set": EKMAN.to_dict(),
        "inputs": [{"trim_silence": trim} for trim in sorted(trims)],
        "sources": sources,
        "notes": [WARNING, *(f"its own parts overlap: {speakers}; see `maeum splits`" for speakers in shared)],
    }
