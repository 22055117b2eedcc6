"""What every corpus declares, and the table of all corpora."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from maeum.config import Config
from maeum.corpora.targets import Target
from maeum.errors import CorpusError
from maeum.labels import EKMAN, LabelSet
from maeum.registry import Registry
from maeum.types import Modality, Utterance

#: The beginning of what a checkout without Git LFS has in place of large files.
_POINTER = b"version https://git-lfs.github.com/"

#: The three parts of a corpus. Models are fitted on train, chosen and calibrated on dev, scored on test.
PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class LeftOut:
    """An item of a corpus that is not used, and why; it is counted and reported, never dropped in silence."""

    id: str
    reason: str
    part: str | None = None


class NoOptions(Config):
    """Of a corpus without settings."""


class Corpus(ABC):
    """One corpus: where its files are, what its labels mean, which part each utterance belongs to.

    A subclass fills the class variables and yields its items in `items`; it decodes no media. A whole one, for files
    like ``anna_happy_03.wav``::

        class Acted(Corpus):
            '''Acted sentences; Anna is dev, Ben is test.'''

            name = "acted"
            title = "Acted sentences"
            licence = "CC BY 4.0"
            citation = "none"
            modalities = ("speech",)

            def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
                for path in named_files(source, "*.wav", "anna_happy_03.wav", (".wav",)):
                    speaker, emotion, _ = path.stem.split("_")
                    label = canonical(emotion)  # "happy" is "happiness"
                    part = {"anna": "dev", "ben": "test"}.get(speaker, "train")
                    if label not in self.label_set.names:
                        yield LeftOut(path.stem, f"{emotion} is outside the label set", part)
                        continue
                    recording = Recording(id=path.stem, audio=path)
                    yield Utterance(path.stem, recording, speaker=speaker, label=label, part=part)

    A package makes it known with an entry point of the group ``maeum.corpora``: ``acted = "mine:Acted"``. Then
    ``maeum prepare acted --source FOLDER --store STORE`` makes a store of it, and every command that takes a store
    takes that one. Here a module below ``maeum.corpora`` has ``@CORPORA.register("acted")`` before the class.
    """

    name: ClassVar[str]
    """Name in commands; the same as in the table of corpora."""
    title: ClassVar[str]
    """Name for people."""
    licence: ClassVar[str]
    """Licence of the corpus; stated on the card of every model that is trained on it."""
    citation: ClassVar[str]
    modalities: ClassVar[tuple[Modality, ...]]
    """What its items may have."""
    faces: ClassVar[Literal["detect", "crops", "none"]] = "none"
    """``detect`` where faces have to be found in pictures, ``crops`` where the images are faces already, ``none``
    without pictures."""
    identity: ClassVar[Literal["media", "text", "clip", "none"]] = "media"
    """What makes two items the same: the ``media`` file, or the ``text``. Items that are in two parts are left out of
    the earlier one (train before dev before test), repeats inside train are left out. ``none`` where equal content is
    not the same event, as with short lines of a dialogue. ``clip`` where lines are events, each with a file of its
    own: of a file that is in two parts, the lines of the earlier one keep their words alone."""
    counts: ClassVar[Mapping[str, int]] = {}
    """Official number of items of each part (``all`` where there are no parts); another number is noted."""
    label_counts: ClassVar[Mapping[str, int]] = {}
    """Published number of items of each label."""
    used_counts: ClassVar[Mapping[str, int]] = {}
    """Published number of items of each part that can be used."""
    scales: ClassVar[LabelSet | None] = None
    """Scales on which its items have values beside their label."""
    other_labels: ClassVar[Mapping[str, LabelSet]] = {}
    """Labels of other kinds that its items have, by kind."""
    other_label_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {}
    """Kind -> published number of items of each label."""
    targets: ClassVar[Mapping[str, Target]] = {}
    """What is usually learned from it, by name; a recipe names one of them, or gives its own."""
    Options: ClassVar[type[Config]] = NoOptions
    """Settings of this corpus: ``options`` of `PrepareConfig`, then ``self.options``."""

    def __init__(self, options: Config | Mapping[str, Any] | None = None) -> None:
        if options is None:
            options = {}
        if not isinstance(options, Config):
            options = self.Options.parse(dict(options), item=f"options of the corpus {self.name}")
        self.options = options

    @property
    def label_set(self) -> LabelSet:
        """What the labels of its utterances are, after its own names were mapped to ours."""
        return EKMAN

    @abstractmethod
    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """Every item in a fixed order: utterances, and those left out with the reason.

        Args:
            source: the folder (or archive) as the corpus' authors distribute it.

        Raises:
            CorpusError: when the source is not laid out like that, or an item contradicts itself.
        """

    def remarks(self, source: Path) -> list[str]:
        """What a user should know about the source as a whole; raises CorpusError as `items` does."""
        return []

    def utterances(self, source: Path) -> Iterator[Utterance]:
        """The items that are used."""
        return (item for item in self.items(Path(source)) if isinstance(item, Utterance))


#: Corpora by name; packages add theirs through the entry-point group ``maeum.corpora``.
CORPORA: Registry[type[Corpus]] = Registry("corpus", "maeum.corpora")


def make_corpus(name: str, options: Config | Mapping[str, Any] | None = None) -> Corpus:
    """The corpus of that name; raises ConfigError on an unknown name or option."""
    return CORPORA[name](options)


def hidden(path: Path) -> bool:
    """Whether a file is one of those in which macOS keeps its own notes (``._name``, ``.DS_Store``)."""
    return path.name.startswith(".")


def unreadable_reason(path: Path) -> str | None:
    """Why a file has no content: it is missing, empty or a Git LFS pointer, as happens to copies; else None."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError:
        return "is missing"
    return "is empty" if not start else "is a Git LFS pointer, not the file" if start == _POINTER else None


def named_files(source: Path, pattern: str, what: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Files below a folder, sorted by name, so that the order does not depend on the disk.

    Args:
        source: the corpus' folder; searched to any depth.
        pattern: a glob such as ``03-*``.
        what: the form the names should have, for the message.
        suffixes: accepted endings, lower case, with the dot.

    Raises:
        CorpusError: when the folder is missing or no file has that form.
    """
    if not source.is_dir():
        raise CorpusError("no such folder", item=source, remedy=f"Give the folder that holds {what}.")
    found = [p for p in source.rglob(pattern) if p.suffix.lower() in suffixes and p.is_file() and not hidden(p)]
    if not found:
        raise CorpusError(f"holds no file like {what}", item=source, remedy="Give the folder of the unpacked corpus.")
    return sorted(found, key=lambda p: (p.name, str(p)))
