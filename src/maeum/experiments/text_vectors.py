"""What a frozen text encoder makes of texts, computed once and kept beside the corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from maeum.data.collate import Collator
from maeum.errors import StoreError
from maeum.experiments.provenance import weights_digest
from maeum.models.text import HubTextEncoder, PieceReader
from maeum.types import Clip

#: Texts that are read at once.
_AT_ONCE = 64


class TextVectors:
    """Vectors of token sequences, ``(tokens) -> (length, width)`` or None where they are not kept.

    They are found by the tokens themselves, so that vectors and mask are always of the same tokenisation, and belong to
    one encoder by the digest of its weights.

    Args:
        folder: of the corpus' cache; made when something is added.
        encoder: frozen, in eval mode.

    Raises:
        StoreError: when a file of the cache is damaged.
    """

    def __init__(self, folder: Path, encoder: PieceReader | HubTextEncoder) -> None:
        self.encoder = encoder
        self.folder = folder / f"text-{weights_digest(encoder)}"
        self._kept: dict[str, Tensor] = {}
        for path in sorted(self.folder.glob("[!.]*.safetensors")):
            try:
                part = load_file(path)
            except (OSError, safetensors.SafetensorError) as error:
                raise StoreError(f"is damaged ({error})", item=path, remedy="Delete it; it is made again.") from error
            self._kept.update(part)

    def __call__(self, tokens: Tensor) -> Tensor | None:
        """See the class."""
        return self._kept.get(_key(tokens))

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, rows: Iterable[Tensor], done: Callable[[int], None] = lambda count: None) -> int:
        """Compute and keep what is not kept yet.

        Args:
            rows: token sequences, ``(length,)`` int64.
            done: called with the number of sequences of each batch.

        Returns:
            How many were computed.

        Raises:
            StoreError: when the cache cannot be written.
        """
        missing = {key: row for row in rows if (key := _key(row)) not in self._kept}
        order = sorted(missing, key=lambda key: len(missing[key]))
        made: dict[str, Tensor] = {}
        device = next(self.encoder.parameters()).device
        for start in range(0, len(order), _AT_ONCE):
            keys = order[start : start + _AT_ONCE]
            longest = max(len(missing[key]) for key in keys)
            tokens = torch.zeros(len(keys), longest, dtype=torch.int64)
            mask = torch.zeros(len(keys), longest, dtype=torch.bool)
            for i, key in enumerate(keys):
                tokens[i, : len(missing[key])] = missing[key]
                mask[i, : len(missing[key])] = True
            with torch.inference_mode():
                read = self.encoder.sequence(tokens.to(device), mask.to(device)).float().cpu()
            made.update({key: read[i, : len(missing[key])].clone() for i, key in enumerate(keys)})
            done(len(keys))
        if made:
            self._write(made)
        self._kept.update(made)
        return len(made)

    def _write(self, made: Mapping[str, Tensor]) -> None:
        name = hashlib.blake2b("".join(sorted(made)).encode(), digest_size=8).hexdigest()
        path = self.folder / f"{name}.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(dict(made), path.with_name(f".{path.name}"))
            path.with_name(f".{path.name}").replace(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise StoreError(f"cannot be written ({error})", item=path,
                             remedy="Free some space, or set cache_text: false.") from error  # fmt: skip


def keep_texts(
    folders: Sequence[Path],
    texts: Sequence[Sequence[str | None]],
    encoder: PieceReader | HubTextEncoder,
    collate: Collator,
    done: Callable[[int], None] = lambda count: None,
) -> Callable[[Tensor], Tensor | None]:
    """Keep what the encoder makes of the texts of some corpora, each in its own cache; gives what finds them.

    Args:
        folders: of the corpora.
        texts: of each; None where an item has none.
        encoder: frozen, in eval mode.
        collate: cuts texts into tokens as training does.
        done: called with the number of texts of each batch that was computed.
    """
    caches = []
    for folder, said in zip(folders, texts, strict=True):
        cache = TextVectors(folder / "cache", encoder)
        rows = collate.tokens([Clip("", text=text) for text in dict.fromkeys(t for t in said if t)])
        cache.add((row for row in rows if row is not None), done)
        caches.append(cache)

    def find(tokens: Tensor) -> Tensor | None:
        return next((found for cache in caches if (found := cache(tokens)) is not None), None)

    return find


def _key(tokens: Tensor) -> str:
    return hashlib.blake2b(tokens.numpy().tobytes(), digest_size=16).hexdigest()
