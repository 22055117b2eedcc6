"""CMU-MOSEI: people talk to a camera on YouTube; sentiment and emotions of their sentences (Zadeh et al. 2018)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from maeum.config import Config
from maeum.corpora.base import CORPORA, PARTS, Corpus, LeftOut
from maeum.corpora.mosei_labels import EMOTIONS, Clip, Rating, Rule, is_table, read_sequence, read_tables, video_id
from maeum.corpora.splits import listed_part, read_ids
from maeum.corpora.tables import finite, read_text
from maeum.corpora.targets import Target
from maeum.errors import ConfigError, CorpusError, MediaError
from maeum.labels import LabelSet
from maeum.media.info import MediaInfo, probe
from maeum.types import Modality, Recording, Utterance

#: ``video___clip___start___end___text``; a video's id and the text may hold ``___`` too, and the text may be missing.
_LINE = re.compile(r"(.+?)___(\d+)___([^_]*)___([^_]*)(?:___(.*))?")
_VIDEOS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".flv", ".m4v")
_LOOKED_FOR = "Labels/*.csv or CMU_MOSEI_Labels.csd, and Transcript/Segmented/Combined/*.txt"


class MoseiOptions(Config):
    """How CMU-MOSEI is read."""

    labels: Literal["tables", "csd"] | None = None
    """``tables`` are the annotators' answers, ``csd`` their means (CMU_MOSEI_Labels.csd); the tables where both exist
    when null."""
    rule: Rule = "sum"
    """An emotion is present when the ``sum`` or the ``mean`` of its values over the annotators is above the threshold,
    or when a ``majority`` of them gave more than it."""
    threshold: float = Field(default=0.0, ge=0, le=100)
    """See ``rule``; values are 0 to 3 for each annotator."""
    needs: tuple[Modality, ...] = ("faces", "speech", "text")
    """Modalities that an utterance must have to be used."""
    #: Left out of what a store is keyed by: a list that moves changes nothing, one that changes changes the items.
    lists: Path | None = Field(default=None, exclude=True)
    """Folder with lists of the videos or utterances of train, dev and test; when null a folder in the source that holds
    such lists."""


@dataclass(frozen=True)
class _Line:
    """A line of a transcript; times as they are written."""

    start: str
    end: str
    text: str

    def span(self) -> tuple[float, float] | str:
        """Start and end in seconds, or what is wrong with them."""
        numbers = []
        for name, word in (("start", self.start), ("end", self.end)):
            number = finite(word)
            if number is None:
                return f"misaligned times: {name} {word!r} is not a number"
            numbers.append(number)
        start_s, end_s = numbers
        if end_s <= max(start_s, 0.0):
            return f"misaligned times: end {end_s:g} s is not after start {start_s:g} s"
        return start_s, end_s


@dataclass
class _Transcripts:
    """Lines by clip, notes on them, lines that are none, and the texts without any line, which are no transcripts."""

    lines: dict[Clip, _Line] = field(default_factory=dict)
    notes: dict[Clip, tuple[str, ...]] = field(default_factory=dict)
    strays: list[LeftOut] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


@dataclass
class _Files:
    """The files of the corpus that were found. videos, sounds: of whole videos, by id."""

    tables: list[Path] = field(default_factory=list)
    sequences: list[Path] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    videos: dict[str, Path] = field(default_factory=dict)
    sounds: dict[str, Path] = field(default_factory=dict)


@CORPORA.register("mosei")
class Mosei(Corpus):
    """CMU-MOSEI as distributed raw: labels, segmented transcripts, whole videos and their sound, in any folders.

    Every clip that is labelled or transcribed is an item. It is used when it has a transcript, times inside of its
    recording, a label, and what the option ``needs`` names. Its label is the emotions that are present, none of them
    for most; sentiment is a scale.

    Who speaks is not distributed: each video counts as a speaker of its own.
    """

    name = "mosei"
    title = "CMU-MOSEI, Multimodal Opinion Sentiment and Emotion Intensity"
    licence = "research use; the videos are their YouTube authors'"
    citation = (
        "Zadeh, A., Liang, P. P., Poria, S., Cambria, E., Morency, L.-P. (2018). Multimodal language analysis in the "
        "wild: CMU-MOSEI dataset and interpretable dynamic fusion graph. ACL 2018."
    )
    modalities = ("faces", "speech", "text")
    faces = "detect"
    identity = "none"
    #: Dai et al. 2021, after removing what is misaligned or missing.
    used_counts: ClassVar[Mapping[str, int]] = {"train": 14_524, "dev": 1_765, "test": 4_188}
    scales: ClassVar[LabelSet | None] = LabelSet(("sentiment",), "dimensional", ((-3.0, 3.0),))
    targets: ClassVar[Mapping[str, Target]] = {
        "emotions": Target(labels=EMOTIONS),
        "sentiment": Target(scales=("sentiment",)),
    }
    Options = MoseiOptions

    @property
    def label_set(self) -> LabelSet:
        """Six emotions, any number of which may be present."""
        return LabelSet(EMOTIONS, "multi-label")

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; in the order of the videos' ids and the clips' numbers."""
        source = Path(source)
        files = _find(source)
        transcripts = _read_transcripts(files.texts)
        lines = transcripts.lines
        if not lines:
            raise CorpusError("holds no transcript with lines video___clip___start___end___text", item=source,
                              remedy=f"Looked for {_LOOKED_FOR}, in folders of any name.")  # fmt: skip
        spans = {clip: line.span() for clip, line in lines.items()}
        times = {clip: span for clip, span in spans.items() if not isinstance(span, str)}
        ratings, unplaced = self._ratings(source, files, times)
        parts = _parts(self._options.lists, transcripts.others)
        media = _Media(files, self._options.needs)
        for clip in sorted({*lines, *ratings}):
            id = f"{clip[0]}_{clip[1]}"
            part = parts.get(id, parts.get(clip[0]))
            if parts and part is None:
                yield LeftOut(id, "in none of the lists")
            elif clip not in lines:
                yield LeftOut(id, "no line in the transcripts", part)
            else:
                notes = transcripts.notes.get(clip, ())
                yield self._item(clip, lines[clip], spans[clip], ratings.get(clip), media, part, notes)
        yield from (*transcripts.strays, *unplaced)

    @property
    def _options(self) -> MoseiOptions:
        assert isinstance(self.options, MoseiOptions)
        return self.options

    def _ratings(
        self, source: Path, files: _Files, times: Mapping[Clip, tuple[float, float]]
    ) -> tuple[dict[Clip, Rating], list[LeftOut]]:
        options = self._options
        labels = options.labels or ("tables" if files.tables else "csd")
        if labels == "tables" and files.tables:
            return read_tables(files.tables)
        if labels == "csd" and files.sequences:
            if options.rule == "majority" or (options.rule == "sum" and options.threshold):
                raise ConfigError(f"the rule {options.rule!r} needs each annotator's answer", item=files.sequences[0],
                                  remedy="A .csd holds means: use the rule mean, or copy Labels/*.csv.")  # fmt: skip
            if len(files.sequences) > 1:
                found = ", ".join(str(path) for path in files.sequences)
                raise CorpusError(f"{found} are several files of labels", remedy="Keep one of them.")
            return read_sequence(files.sequences[0], times)
        requested = "" if options.labels is None else f" (the option labels asks for {labels})"
        raise CorpusError(
            f"holds no labels{requested}: neither a .csv with the columns Input.VIDEO_ID, Input.CLIP, Answer.anger and "
            "so on, nor a .csd with labels in its name",
            item=source,
            remedy=f"Looked for {_LOOKED_FOR}, in folders of any name.",
        )

    def _item(
        self,
        clip: Clip,
        line: _Line,
        span: tuple[float, float] | str,
        rating: Rating | None,
        media: _Media,
        part: str | None,
        notes: tuple[str, ...],
    ) -> Utterance | LeftOut:
        video, id = clip[0], f"{clip[0]}_{clip[1]}"
        if isinstance(span, str):
            return LeftOut(id, span, part)
        label = None if rating is None else rating.label(self._options.rule, self._options.threshold)
        sentiment = None if rating is None else rating.sentiment
        if rating is None or (label is None and sentiment is None):
            return LeftOut(id, "no label", part)
        if not line.text and "text" in self._options.needs:
            return LeftOut(id, "empty transcript", part)
        recording = media.recording(video, span)
        if isinstance(recording, str):
            return LeftOut(id, recording, part)
        return Utterance(
            id=id,
            recording=recording if recording.video or recording.audio else None,
            dialogue=video,
            speaker=video,
            start_s=span[0],
            end_s=span[1],
            text=line.text or None,
            label=label,
            part=part,
            scales=None if sentiment is None else {"sentiment": sentiment},
            notes=(*notes, *rating.notes, *media.notes(video)),
        )


class _Media:
    """The recordings of videos, each looked at once.

    Args:
        files: where they are.
        needs: what an utterance must have.
    """

    def __init__(self, files: _Files, needs: Sequence[Modality]) -> None:
        self._files, self._needs = files, needs
        self._looked: dict[Path, MediaInfo | str] = {}
        self._known: dict[str, tuple[Recording, tuple[MediaInfo, ...], str | None, tuple[str, ...]]] = {}

    def recording(self, video: str, span: tuple[float, float]) -> Recording | str:
        """Picture and sound of a video, or why the stretch of it, in seconds, cannot be used."""
        recording, infos, missing, _ = self._of(video)
        if missing is not None:
            return missing
        start_s, end_s = max(span[0], 0.0), span[1]
        for info in infos:
            if info.duration_s is not None and info.duration_s - start_s < (end_s - start_s) / 2:
                end_of_file = f"{info.path.name}, which is {info.duration_s:.2f} s long"
                return f"misaligned times: most of {span[0]:g} s to {end_s:g} s is beyond {end_of_file}"
        return recording

    def notes(self, video: str) -> tuple[str, ...]:
        """What to know about a recording that is used."""
        return self._of(video)[3]

    def _of(self, video: str) -> tuple[Recording, tuple[MediaInfo, ...], str | None, tuple[str, ...]]:
        if video not in self._known:
            picture = self._look(self._files.videos.get(video), f"no whole video {video}.mp4")
            if isinstance(picture, MediaInfo) and not picture.has_video:
                picture = f"{picture.path.name} has no picture"
            sound = self._look(self._files.sounds.get(video), f"no {video}.wav")
            notes = []
            if isinstance(sound, str) and isinstance(picture, MediaInfo) and picture.has_audio:
                if self._files.sounds:
                    notes.append(f"{sound}; the video's own sound is taken")
                sound = picture
            missing = None
            for name, modality, found in (("video", "faces", picture), ("sound", "speech", sound)):
                if isinstance(found, str):
                    if modality in self._needs:
                        missing = missing or f"missing {name}: {found}"
                    notes.append(f"no {name}: {found}")
            infos = tuple(dict.fromkeys(info for info in (picture, sound) if isinstance(info, MediaInfo)))
            recording = Recording(
                id=video,
                video=picture.path if isinstance(picture, MediaInfo) else None,
                audio=sound.path if isinstance(sound, MediaInfo) else None,
            )
            self._known[video] = (recording, infos, missing, tuple(notes))
        return self._known[video]

    def _look(self, path: Path | None, missing: str) -> MediaInfo | str:
        if path is None:
            return missing
        if path not in self._looked:
            try:
                self._looked[path] = probe(path)
            except MediaError as error:
                self._looked[path] = str(error)
        return self._looked[path]


def _find(source: Path) -> _Files:
    """Everything of the corpus below a folder, whatever its folders are called. Clips cut out of videos are not it."""
    if not source.is_dir():
        raise CorpusError("no such folder", item=source, remedy=f"Give the folder that holds {_LOOKED_FOR}.")
    files = _Files()
    paths = [
        Path(folder, name)
        for folder, _, names in os.walk(source, followlinks=True)
        for name in names
        if not name.startswith("._")
    ]
    for path in sorted(paths):
        suffix, cut = path.suffix.lower(), "segmented" in str(path.parent.relative_to(source)).lower()
        if suffix == ".txt":
            files.texts.append(path)
        elif suffix == ".csv" and is_table(path):
            files.tables.append(path)
        elif suffix == ".csd" and "label" in path.stem.lower():
            files.sequences.append(path)
        elif suffix in _VIDEOS and not cut:
            files.videos.setdefault(path.stem, path)
        elif suffix == ".wav" and not cut:
            files.sounds.setdefault(path.stem, path)
    return files


def _read_transcripts(paths: Sequence[Path]) -> _Transcripts:
    out = _Transcripts()
    for path in paths:
        # Not splitlines: a text may hold the other characters at which that cuts.
        written = [line.strip() for line in read_text(path).split("\n")]
        found = [_LINE.fullmatch(line) for line in written]
        if not any(found):
            out.others.append(path)
            continue
        for number, (text, match) in enumerate(zip(written, found, strict=True), start=1):
            if match is None:
                if text:
                    where = f"{path.name}, line {number} of the transcript"
                    out.strays.append(LeftOut(where, "the line is not video___clip___start___end___text"))
                continue
            clip = (video_id(match[1]), int(match[2]))
            line = _Line(match[3].strip(), match[4].strip(), (match[5] or "").strip())
            if out.lines.setdefault(clip, line) != line:
                out.notes[clip] = ("several lines of the transcripts; the first is taken",)
    return out


def _parts(folder: Path | None, texts: Sequence[Path]) -> dict[str, str]:
    """Video or utterance -> part, from three lists of ids in one folder. Empty where there are none.

    Raises:
        CorpusError: when the requested folder lacks a list, several folders have them, or an id is in two.
    """
    if folder is not None:
        texts = sorted(folder.glob("*.txt"))
    found: list[dict[str, Path]] = []
    for place in dict.fromkeys(path.parent for path in texts):
        named = [(part, path) for path in texts if path.parent == place and (part := listed_part(path)) is not None]
        if sorted(part for part, _ in named) == sorted(PARTS):
            found.append(dict(named))
    if folder is not None and not found:
        raise CorpusError("needs one list each for train, dev (or valid) and test", item=folder,
                          remedy="Name them train.txt, dev.txt and test.txt, an id a line.")  # fmt: skip
    if len(found) > 1:
        places = ", ".join(str(lists["train"].parent) for lists in found)
        raise CorpusError(f"{places} all hold lists of train, dev and test", remedy="Choose with the option lists.")
    parts: dict[str, str] = {}
    for part, path in found[0].items() if found else ():
        for id in read_ids(path):
            if parts.setdefault(id, part) != part:
                raise CorpusError(f"{id} is in {parts[id]} and in {part}", item=path, remedy="Keep it in one list.")
    return parts


__all__ = ["Mosei", "MoseiOptions"]
