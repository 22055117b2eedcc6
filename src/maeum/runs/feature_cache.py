"""Disk cache of frozen encoders' outputs, keyed by a hash of their input."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import torch
from rich.progress import Progress
from safetensors.torch import save
from torch import Tensor, nn

from maeum.data.collate import Collator
from maeum.data.dataset import ClipDataset, JointDataset, StoreDataset
from maeum.errors import ConfigError, StoreError
from maeum.files import atomic_write, write_error
from maeum.models.encoders.pretrained_speech import PretrainedLayers
from maeum.models.encoders.speech import HubSpeechEncoder
from maeum.models.encoders.text import HubTextEncoder, TokenEmbedder
from maeum.models.network import HasFrozenEncoders, Network
from maeum.models.pretrained import weights_digest
from maeum.runs.recipe import Recipe
from maeum.types import Clip, Modality

Find = Callable[[Tensor], Tensor | None]
Done = Callable[[int], None]

#: Texts that are read at once.
_AT_ONCE = 64
#: A file of the cache is begun anew after so many bytes, so that an interrupted computation loses no more.
_FILE_BYTES = 256 << 20


class FeatureCache:
    """Maps an input (token ids or samples) to the frozen encoder's output.

    Keys are hashes of the input itself: outputs and masks are always of the same tokenisation. Files lie in
    ``store/cache/<part>-<digest of the encoder's weights>/`` and are read on demand.

    Args:
        folder: of one frozen encoder; made when something is written.

    Raises:
        StoreError: when a file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, tuple[Path, Any, str | None]] = {}
        for path in sorted(self.folder.glob("[!.]*.safetensors")):
            self._open(path)

    def _open(self, path: Path) -> None:
        try:
            file: Any = safetensors.safe_open(path, "pt")
            sums = file.metadata() or {}
            self._files.update({key: (path, file, sums.get(key)) for key in list(file.keys())})
        except (OSError, safetensors.SafetensorError) as error:
            raise _damaged(path, str(error)) from error

    def __call__(self, content: Tensor) -> Tensor | None:
        """The output for an input, or None where it is not cached; raises StoreError when it is damaged."""
        key = _key(content)
        if key not in self._files:
            return None
        path, file, total = self._files[key]
        tensor: Tensor = file.get_tensor(key)
        if _sum(tensor) != total:
            raise _damaged(path, "wrong checksum")
        return tensor

    def __contains__(self, content: Tensor) -> bool:
        return _key(content) in self._files

    def write(self, computed: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Add pairs of an input and its output.

        Raises:
            StoreError: when that cannot be written.
        """
        tensors = {_key(content): tensor.contiguous() for content, tensor in computed}
        name = hashlib.blake2b("".join(sorted(tensors)).encode(), digest_size=8).hexdigest()
        path = self.folder / f"{name}.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        with atomic_write(path) as file:
            file.write(save(tensors, {key: _sum(tensor) for key, tensor in tensors.items()}))
        self._open(path)


def check_frozen(recipe: Recipe, model: Network) -> None:
    """Raise ConfigError when a recipe caches outputs of a frozen encoder, and its network has none."""
    if recipe.cache_text:
        _frozen_text_encoder(recipe, model)
    if recipe.cache_speech:
        _frozen_speech_encoder(recipe, model)


def cache_frozen_features(
    recipe: Recipe, model: Network, data: Sequence[ClipDataset], collate: Collator, bar: Progress
) -> None:
    """Compute the outputs of frozen encoders once, where the recipe says so, and have batches made with them.

    Inputs that vary every time, such as augmented views, are not cached.

    Args:
        recipe: the training's.
        model: its network.
        data: all that is read.
        collate: is given the caches.
        bar: draws progress.

    Raises:
        ConfigError: see `check_frozen`.
        StoreError: when a cache is damaged or cannot be written.
    """
    sets = [one for d in data for one in (d.datasets if isinstance(d, JointDataset) else (d,))]
    stores = [one for one in sets if isinstance(one, StoreDataset)]

    @contextmanager
    def progress(name: str) -> Iterator[Done]:
        task = bar.add_task(name, total=None)
        yield lambda count: bar.advance(task, count)
        computed = bar.tasks[bar.task_ids.index(task)].completed
        bar.console.print(f"{name}: {computed:.0f} computed, the others were in the cache of their store")

    view = recipe.augment.view
    if recipe.cache_text:
        views = view is None or view.text is None
        with progress("words") as done:
            collate.vectors = cache_texts(
                stores, _frozen_text_encoder(recipe, model).eval(), collate, done, views=views
            )
    if recipe.cache_speech:
        views = view is None or view.wave is None
        with progress("sounds") as done:
            collate.sound_features = cache_sounds(
                stores, _frozen_speech_encoder(recipe, model).eval(), collate, done, views=views
            )


def find_kept(model: Network, sets: Sequence[StoreDataset], collate: Collator, modalities: Sequence[Modality]) -> None:
    """Have batches of a trained model made with the outputs of its frozen encoders, those that it has.

    Args:
        model: the network.
        sets: what is read.
        collate: is given the caches.
        modalities: whose; faces have no such encoder.

    Raises:
        StoreError: when a cache is damaged or cannot be written.
    """
    if not isinstance(model, HasFrozenEncoders):
        return
    words, sounds = model.frozen_text_encoder(), model.frozen_speech_encoder()
    if "text" in modalities and words is not None:
        collate.vectors = cache_texts(sets, words.eval(), collate)
    if "speech" in modalities and sounds is not None:
        collate.sound_features = cache_sounds(sets, sounds.eval(), collate)


def cache_texts(
    sets: Sequence[StoreDataset],
    encoder: TokenEmbedder | HubTextEncoder,
    collate: Collator,
    done: Done = lambda count: None,
    *,
    views: bool = True,
) -> Find:
    """Cache a text encoder's outputs for the texts of some corpora, each in its own store.

    Args:
        sets: the corpora.
        encoder: frozen, in eval mode.
        collate: cuts texts into tokens as training does.
        done: called with the number of texts of each batch that was computed.
        views: for the texts of their augmented views, too.

    Returns:
        tokens ``(length,)`` -> ``(length, width)``, or None where they are not cached.

    Raises:
        StoreError: when a cache is damaged or cannot be written.
    """
    caches = _caches(sets, f"text-{_named(encoder, encoder.config.model_dump(mode='json'))}")
    for one in sets:
        cache = caches[one.store.folder]
        texts = dict.fromkeys(text for text in (*one.texts(), *(one.view_texts() if views else ())) if text)
        rows = collate.tokens([Clip("", text=text) for text in texts])
        order = sorted(_new((row for row in rows if row is not None), cache), key=len)
        batches = (order[start : start + _AT_ONCE] for start in range(0, len(order), _AT_ONCE))
        _fill(cache, ((batch, _read_texts(encoder, batch)) for batch in batches), done)
    return _first_of(caches.values())


def cache_sounds(
    sets: Sequence[StoreDataset],
    encoder: HubSpeechEncoder | PretrainedLayers,
    collate: Collator,
    done: Done = lambda count: None,
    *,
    views: bool = True,
) -> Find:
    """Cache the outputs of a speech encoder's frozen part for the sounds of some corpora, each in its own store.

    Args:
        sets: the corpora, with the sound itself.
        encoder: frozen in part, in eval mode.
        collate: shortens sounds as training does.
        done: called with 1 for each sound that was computed.
        views: for the sounds of their augmented views, too.

    Returns:
        samples ``(samples,)`` -> ``(steps, ...)``, or None where they are not cached.

    Raises:
        StoreError: when a cache is damaged or cannot be written.
    """
    caches = _caches(sets, f"sound-{_named(*encoder.frozen_part())}")
    for one in sets:
        cache = caches[one.store.folder]
        waves = (wave for wave in map(collate.sound, one.sounds(views=views)) if wave is not None)
        _fill(cache, (([wave], [encoder.frozen_features(wave)]) for wave in _new(waves, cache)), done)
    return _first_of(caches.values())


def _caches(sets: Iterable[StoreDataset], name: str) -> dict[Path, FeatureCache]:
    """One for each store, by its folder."""
    folders = dict.fromkeys(one.store.folder for one in sets)
    return {folder: FeatureCache(folder / "cache" / name) for folder in folders}


def _named(part: nn.Module, settings: Mapping[str, Any]) -> str:
    """A name for the outputs of a frozen part: a digest of its weights and its settings."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=6).hexdigest()
    return f"{weights_digest(part)}-{digest}"


def _frozen_text_encoder(recipe: Recipe, model: Network) -> TokenEmbedder | HubTextEncoder:
    encoder = model.frozen_text_encoder() if isinstance(model, HasFrozenEncoders) else None
    if encoder is None:
        raise ConfigError(
            "cache_text keeps the outputs of a frozen text encoder, and this network has none",
            item=recipe.name,
            remedy="Leave it out, or use model: mmer with freeze_text: true.",
        )
    if recipe.augment.text is not None:
        raise ConfigError(
            "cache_text keeps outputs for texts as they are, and augment.text varies them every time",
            item=recipe.name,
            remedy="Leave one of them out.",
        )
    return encoder


def _frozen_speech_encoder(recipe: Recipe, model: Network) -> HubSpeechEncoder | PretrainedLayers:
    encoder = model.frozen_speech_encoder() if isinstance(model, HasFrozenEncoders) else None
    if encoder is None:
        raise ConfigError(
            "cache_speech keeps what the frozen part of a speech encoder makes of a sound, and this network has none "
            "that makes the same of it each time",
            item=recipe.name,
            remedy="Leave it out; or use a speech encoder of kind pretrained without mask_time_s and mask_bands (and "
            "without trained_layers, where it is no Whisper), or in model: mmer one of kind hub with freeze_features: "
            "true and sees_padding: false.",
        )
    if recipe.augment.wave is not None:
        raise ConfigError(
            "cache_speech keeps outputs for sounds as they are, and augment.wave varies them every time",
            item=recipe.name,
            remedy="Leave one of them out.",
        )
    return encoder


def _new(contents: Iterable[Tensor], cache: FeatureCache) -> Iterator[Tensor]:
    """Each that is not in the cache, once."""
    seen: set[str] = set()
    for content in contents:
        key = _key(content)
        if key not in seen and content not in cache:
            seen.add(key)
            yield content


def _fill(cache: FeatureCache, computed: Iterable[tuple[Sequence[Tensor], Sequence[Tensor]]], done: Done) -> None:
    waiting: list[tuple[Tensor, Tensor]] = []
    for contents, tensors in computed:
        waiting += zip(contents, tensors, strict=True)
        if sum(tensor.nbytes for _, tensor in waiting) > _FILE_BYTES:
            cache.write(waiting)
            waiting = []
        done(len(contents))
    if waiting:
        cache.write(waiting)


def _read_texts(encoder: TokenEmbedder | HubTextEncoder, rows: Sequence[Tensor]) -> list[Tensor]:
    device = next(encoder.parameters()).device
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    mask = torch.arange(tokens.shape[1]) < lengths.unsqueeze(1)
    with torch.inference_mode():
        read = encoder.sequence(tokens.to(device), mask.to(device)).float().cpu()
    return [vectors[: len(row)].clone() for vectors, row in zip(read, rows, strict=True)]


def _first_of(found: Iterable[FeatureCache]) -> Find:
    caches = tuple(found)

    def find(content: Tensor) -> Tensor | None:
        return next((found for cache in caches if (found := cache(content)) is not None), None)

    return find


def _damaged(path: Path, reason: str) -> StoreError:
    return StoreError(f"is damaged ({reason})", item=path, remedy="Delete it; it is made again.")


def _sum(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.contiguous().numpy().data):08x}" if tensor.numel() else ""


def _key(content: Tensor) -> str:
    return hashlib.blake2b(content.numpy().tobytes(), digest_size=16).hexdigest()
