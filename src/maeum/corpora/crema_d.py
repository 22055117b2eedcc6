"""CREMA-D: 91 actors say twelve sentences in six emotions, and 2,443 people rated them (Cao et al. 2014)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from maeum.config import Config
from maeum.corpora.base import CORPORA, Corpus, LeftOut, hidden, unreadable_reason
from maeum.corpora.tables import finite, read_table
from maeum.corpora.targets import Target
from maeum.errors import ConfigError, CorpusError
from maeum.labels import LabelSet, canonical
from maeum.types import Modality, Recording, Utterance

_SENTENCES = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
_CODES = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral", "SAD": "sadness"}
_LETTERS = {code[0]: emotion for code, emotion in _CODES.items()}
_EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "neutral")
#: ``dispLevel`` in the authors' description of their responses; XX is not specified.
_LEVELS = {"LO": 20.0, "MD": 50.0, "HI": 80.0}
#: Of what raters were given -> the columns of the summary table.
_VOTES = {
    "voice": ("voicevote", "voicelevel"),
    "face": ("facevote", "facelevel"),
    "multimodal": ("multimodalvote", "multimodallevel"),
}
_SCALES = ("intended_level", *(f"{kind}_level" for kind in _VOTES))

#: The last letter is missing from a name as distributed, ``1040_ITH_SAD_X.wav``.
_NAME = re.compile(rf"(\d{{4}})_({'|'.join(_SENTENCES)})_({'|'.join(_CODES)})_(LO|MD|HI|XX?)")
#: What is known to be wrong with the recordings as distributed.
_KNOWN = {
    "1064_IEO_DIS_MD": "as distributed, this recording holds the sentence in several emotions",
    "1076_MTI_SAD_XX": "as distributed, its sound file is silent",
}
#: Where the media are; the first that can be used is taken.
_PICTURES = (("VideoFlash", ".flv"), ("VideoFlash", ".mp4"))
_SOUNDS = (("AudioWAV", ".wav"), ("AudioMP3", ".mp3"))
_LIST, _PEOPLE, _SUMMARY = "SentenceFilenames.csv", "VideoDemographics.csv", "processedResults/summaryTable.csv"


class CremaDOptions(Config):
    """How CREMA-D is read."""

    transcripts: bool = True
    """Give the sentence as text. All emotions share the same twelve sentences, so text says nothing about them."""
    dev_actors: tuple[int, ...] = tuple(range(1064, 1078))
    """Actors of the part dev; everybody who is in neither list is in train."""
    test_actors: tuple[int, ...] = tuple(range(1078, 1092))
    """Actors of the part test."""


@dataclass(frozen=True)
class _Votes:
    """The votes about a clip: the emotion on which most agree, by kind; the mean level given with it, 0 to 100."""

    labels: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Copy:
    """What a copy holds besides its clips. pictures, sounds: whether it has any, so that one clip can lack its own."""

    listed: set[str]
    people: set[str]
    votes: Mapping[str, _Votes] | None
    pictures: bool
    sounds: bool


@CORPORA.register("crema-d")
class CremaD(Corpus):
    """CREMA-D as distributed: ``AudioWAV``, ``VideoFlash``, ``processedResults/summaryTable.csv`` and more.

    A clip's label is the emotion that the actor meant. The votes of raters who got its sound alone, its picture alone,
    or both are its other labels ``voice``, ``face`` and ``multimodal``; where two emotions have as many votes
    (``A:D``), there is no agreement, and no label. The levels that they gave are scales. There is no official split;
    actors are disjoint between the default parts.
    """

    name = "crema-d"
    title = "CREMA-D, Crowd-sourced Emotional Multimodal Actors Dataset"
    licence = "Open Database License (ODbL) 1.0; contents under the Database Contents License (DbCL) 1.0"
    citation = (
        "Cao, H., Cooper, D. G., Keutmann, M. K., Gur, R. C., Nenkova, A., Verma, R. (2014). CREMA-D: Crowd-sourced "
        "emotional multimodal actors dataset. IEEE Transactions on Affective Computing 5(4)."
    )
    faces = "detect"
    label_counts: ClassVar[Mapping[str, int]] = {
        "anger": 1271, "disgust": 1271, "fear": 1271, "happiness": 1271, "sadness": 1271, "neutral": 1087,
    }  # fmt: skip
    scales: ClassVar[LabelSet | None] = LabelSet(_SCALES, "dimensional", ((0.0, 100.0),) * len(_SCALES))
    other_labels: ClassVar[Mapping[str, LabelSet]] = {kind: LabelSet(_EMOTIONS) for kind in _VOTES}
    #: Clips with one emotion in the authors' summary table.
    other_label_counts: ClassVar[Mapping[str, Mapping[str, int]]] = {
        "voice": {"anger": 986, "disgust": 547, "fear": 645, "happiness": 353, "sadness": 370, "neutral": 3897},
        "face": {"anger": 968, "disgust": 1057, "fear": 822, "happiness": 1266, "sadness": 783, "neutral": 2076},
        "multimodal": {"anger": 1019, "disgust": 1139, "fear": 1084, "happiness": 1219, "sadness": 589,
                       "neutral": 1972},
    }  # fmt: skip
    targets: ClassVar[Mapping[str, Target]] = {
        "intended": Target(labels=_EMOTIONS),
        **{kind: Target(of=kind, labels=_EMOTIONS) for kind in _VOTES},
        **{f"{kind}-level": Target(scales=(f"{kind}_level",)) for kind in _VOTES},
    }
    Options = CremaDOptions

    @property
    def modalities(self) -> tuple[Modality, ...]:  # type: ignore[override]
        """Words only where the options ask for them."""
        return ("faces", "speech", "text") if self._options.transcripts else ("faces", "speech")

    @property
    def _options(self) -> CremaDOptions:
        assert isinstance(self.options, CremaDOptions)
        return self.options

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; a clip of the authors' list that has neither picture nor sound is left out."""
        options = self._options
        if both := set(options.dev_actors) & set(options.test_actors):
            raise ConfigError(f"actors {sorted(both)} are in dev and in test", item="options of the corpus crema-d")
        root = _root(Path(source))
        files, strangers = _files(root)
        kinds = {kind for of_clip in files.values() for kind in of_clip}
        copy = _Copy(
            listed=_listed(root / _LIST),
            people=_people(root / _PEOPLE),
            votes=_summary(root / _SUMMARY),
            pictures=any(kind in kinds for kind in _PICTURES),
            sounds=any(kind in kinds for kind in _SOUNDS),
        )
        if copy.votes is None:
            yield LeftOut(_SUMMARY, "the table is missing, so that no clip has votes")
        for id in sorted({*copy.listed, *files, *(copy.votes or {})}):
            yield self._clip(id, files.get(id, {}), copy)
        yield from (LeftOut(name, "the name does not follow the scheme of CREMA-D") for name in strangers)

    def _clip(self, id: str, files: Mapping[tuple[str, str], Path], copy: _Copy) -> Utterance | LeftOut:
        match = _NAME.fullmatch(id)
        assert match is not None
        actor, options = int(match[1]), self._options
        part = "dev" if actor in options.dev_actors else "test" if actor in options.test_actors else "train"
        notes = [_KNOWN[id]] if id in _KNOWN else []
        video, wrong = _first(files, _PICTURES)
        audio, silent = _first(files, _SOUNDS)
        if video is None and audio is None:
            return LeftOut(id, "; ".join([*wrong, *silent]) or "no such file: neither picture nor sound", part)
        if copy.pictures and video is None:
            notes.append(f"no picture: {'; '.join(wrong) or 'its file in VideoFlash is missing'}")
        elif wrong:
            notes.append(f"{'; '.join(wrong)}; the other picture is taken")
        if silent or (copy.sounds and audio is None):
            taken = "the video's sound" if audio is None else audio.name
            notes.append(f"{'; '.join(silent) or 'its sound file is missing'}; {taken} is taken")
        if copy.listed and id not in copy.listed:
            notes.append(f"it is not in {_LIST}")
        if copy.people and match[1] not in copy.people:
            notes.append(f"actor {match[1]} is not in {_PEOPLE}")
        if copy.votes is not None and id not in copy.votes:
            notes.append(f"it is not in {_SUMMARY}, so that it has no votes")
        votes = (copy.votes or {}).get(id, _Votes())
        levels = dict(votes.levels)
        if match[4] in _LEVELS:
            levels["intended_level"] = _LEVELS[match[4]]
        return Utterance(
            id=id,
            recording=Recording(id=id, video=video, audio=audio or video),
            speaker=f"crema-d-{match[1]}",
            text=_SENTENCES[match[2]] if options.transcripts else None,
            label=canonical(_CODES[match[3]]),
            part=part,
            scales=levels or None,
            other_labels=votes.labels or None,
            notes=tuple(notes),
        )


def _root(source: Path) -> Path:
    """The folder of the media: the source, or the one folder in it that holds them."""
    remedy = "Give the folder that holds AudioWAV and VideoFlash."
    if not source.is_dir():
        raise CorpusError("no such folder", item=source, remedy=remedy)
    for folder in (source, *sorted(source.iterdir())):
        if any((folder / place).is_dir() for place, _ in (*_PICTURES, *_SOUNDS)):
            return folder
    raise CorpusError("holds none of the folders AudioWAV, AudioMP3, VideoFlash", item=source, remedy=remedy)


def _files(root: Path) -> tuple[dict[str, dict[tuple[str, str], Path]], list[str]]:
    """The files of each clip by folder and ending, and those whose name is no clip's."""
    files: dict[str, dict[tuple[str, str], Path]] = {}
    strangers = []
    for place in dict.fromkeys(place for place, _ in (*_PICTURES, *_SOUNDS)):
        for path in sorted(p for p in (root / place).glob("*") if not hidden(p)):
            kind = (place, path.suffix.lower())
            if kind in (*_PICTURES, *_SOUNDS) and _NAME.fullmatch(path.stem):
                files.setdefault(_whole(path.stem), {})[kind] = path
            else:
                strangers.append(f"{place}/{path.name}")
    return files, strangers


def _whole(name: str) -> str:
    return f"{name}X" if name.endswith("_X") else name


def _first(files: Mapping[tuple[str, str], Path], kinds: tuple[tuple[str, str], ...]) -> tuple[Path | None, list[str]]:
    """The first file of these kinds in which there is something, and what is wrong with those before it."""
    wrong: list[str] = []
    for path in (files[kind] for kind in kinds if kind in files):
        problem = unreadable_reason(path)
        if problem is None:
            return path, wrong
        wrong.append(f"{path.parent.name}/{path.name} {problem}")
    return None, wrong


def _listed(path: Path) -> set[str]:
    """The clips that the authors list; none without the list."""
    if not path.is_file():
        return set()
    return {_name(row["filename"], f"{path}, line {line}") for line, row in read_table(path, ("filename",), ",")}


def _people(path: Path) -> set[str]:
    """The actors that the authors list; none without the list."""
    return {row["actorid"] for _, row in read_table(path, ("actorid",), ",")} if path.is_file() else set()


def _summary(path: Path) -> dict[str, _Votes] | None:
    """The votes by clip; None without the table.

    Raises:
        CorpusError: naming the line that cannot be right.
    """
    if not path.is_file():
        return None
    votes: dict[str, _Votes] = {}
    columns = ("filename", *(column for pair in _VOTES.values() for column in pair))
    for line, row in read_table(path, columns, ","):
        where = f"{path}, line {line}"
        name = _name(row["filename"], where)
        if name in votes:
            raise CorpusError(f"{name} is listed twice", item=where, remedy="Keep one of the lines.")
        labels, levels = {}, {}
        for kind, (vote, level) in _VOTES.items():
            emotions = [_LETTERS.get(letter.strip()) for letter in row.get(vote, "").split(":")]
            numbers = [_level(number) for number in row.get(level, "").split(":")]
            if None in emotions or None in numbers or len(emotions) != len(numbers):
                raise CorpusError(
                    f"{name}: {vote} {row.get(vote, '')!r} with {level} {row.get(level, '')!r} are not letters of "
                    f"{', '.join(_LETTERS)} and as many levels from 0 to 100",
                    item=where,
                    remedy="Copy the file again, or correct the line.",
                )
            if len(emotions) == 1:
                labels[kind], levels[f"{kind}_level"] = str(emotions[0]), float(numbers[0] or 0.0)
        votes[name] = _Votes(labels, levels)
    return votes


def _name(text: str, where: str) -> str:
    if not _NAME.fullmatch(text):
        raise CorpusError(f"{text!r} is no clip of CREMA-D", item=where,
                          remedy="Copy the file again, or correct the line.")  # fmt: skip
    return _whole(text)


def _level(text: str) -> float | None:
    level = finite(text)
    return level if level is not None and 0 <= level <= 100 else None


__all__ = ["CremaD", "CremaDOptions"]
