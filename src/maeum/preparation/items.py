"""Items of a store, made of the utterances of a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from maeum.archives import ArchiveError, archive_of, read_member
from maeum.corpora.base import LeftOut
from maeum.data.shards import StoreItem, as_samples
from maeum.errors import CorpusError
from maeum.files import check_regular
from maeum.inputs.clip import CheckedClip
from maeum.inputs.utterances import UtteranceReader
from maeum.types import Utterance


class ItemMaker:
    """Makes store items of utterances.

    Args:
        reader: reads them.
        precision: of the log-mel chunks in the store.
    """

    def __init__(self, reader: UtteranceReader, precision: Literal["float16", "float32"] = "float16") -> None:
        self.reader, self.precision = reader, precision

    def __call__(self, utterance: Utterance, content: str = "") -> StoreItem | LeftOut:
        """The item, or the reason why it is left out: its media cannot be read, or no modality remains.

        A modality that is missing beside another one is normal, and noted.
        """
        return self._item(utterance, self.reader(utterance), content)

    def items(self, utterances: Sequence[Utterance], content: Mapping[str, str]) -> Iterator[StoreItem | LeftOut]:
        """The item of each utterance, in their order; see `__call__`.

        Args:
            utterances: with distinct ids.
            content: id -> hash of what it is made from.
        """
        for utterance, checked in zip(utterances, self.reader.clips(utterances), strict=True):
            yield self._item(utterance, checked, content[utterance.id])

    def _item(self, utterance: Utterance, checked: CheckedClip, content: str) -> StoreItem | LeftOut:
        clip = checked.clip
        notes = tuple(dict.fromkeys([*utterance.notes, *checked.notes, *checked.reasons]))
        if not clip.modalities:
            wanted = ", ".join(self.reader.modalities)
            reason = "; ".join(notes) or (f"has none of {wanted}" if wanted else "has neither media nor words")
            return LeftOut(utterance.id, reason, utterance.part)
        return StoreItem(
            replace(utterance, text=None) if "text" in checked.missing else utterance,
            faces=None if clip.faces is None else clip.faces.numpy(),
            mel_chunks=None if clip.mel_chunks is None else clip.mel_chunks.numpy().astype(self.precision),
            wave=None if clip.wave is None else as_samples(clip.wave.numpy()),
            content=content,
            notes=notes,
            duration_s=checked.duration_s,
        )


def content_hash(path: Path) -> str:
    """Hash of a file's bytes, or of a member of a zip archive (``archive.zip/inner/name.jpg``).

    Raises:
        CorpusError: when it cannot be read.
    """
    try:
        check_regular(path, CorpusError)
        if path.exists():
            with path.open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        archive = archive_of(path)
        if archive is None:
            raise CorpusError("no such file", item=path)
        return hashlib.blake2b(read_member(archive, path), digest_size=16).hexdigest()
    except KeyError as error:
        raise CorpusError("the archive has no such member", item=path) from error
    except ArchiveError as error:
        raise CorpusError(f"cannot be read: {error}", item=path) from error
