"""IEMOCAP: ten actors talk in pairs, recorded in five sessions (Busso et al. 2008)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from maeum.config import Config
from maeum.corpora.base import CORPORA, Corpus, LeftOut
from maeum.corpora.tables import finite, read_text
from maeum.corpora.targets import Target
from maeum.errors import ConfigError, CorpusError
from maeum.labels import LabelSet, canonical
from maeum.types import HALVES, Recording, Utterance

_SESSIONS = (1, 2, 3, 4, 5)
_EMOTIONS = ("anger", "happiness", "excitement", "sadness", "neutral", "frustration", "surprise", "fear", "disgust",
             "other")  # fmt: skip
_SCALES = ("valence", "activation", "dominance")
#: Three annotators and no majority.
_NO_AGREEMENT = "xxx"

_NUMBER = r"\s*([^\s,\[\]]+)\s*"
#: ``[6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]``
_RATED = re.compile(rf"\[{_NUMBER}-{_NUMBER}\]\s*(\S+)\s+(\S+)\s+\[{_NUMBER},{_NUMBER},{_NUMBER}\]\s*")
#: ``Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.``; the words may hold more colons.
_TRANSCRIPT_LINE = re.compile(r"([^\s:]+)\s*(?:\[[^\]]*\])?\s*:(.*)")
_DIALOGUE = re.compile(r"Ses(\d\d)([FM])_\w+")
#: What transcribers note beside words: ``[LAUGHTER]``, ``{LG}``, ``<BREATHING>``, ``++GARBAGE++``.
_MARK = re.compile(r"\[[A-Z][A-Z\d /_-]*\]|\{[A-Za-z][A-Za-z\d /_-]*\}|</?[A-Za-z]+>|\+\+[A-Za-z ]+\+\+")

#: Where the dialogues of a session are, by name.
_PLACES = {
    "dialog/EmoEvaluation": "*.txt",
    "dialog/transcriptions": "*.txt",
    "dialog/avi/DivX": "*.avi",
    "dialog/wav": "*.wav",
    "sentences/wav": "*",
}
_UNRATED = "not rated: only in a transcript, or only as a recording"


class IemocapOptions(Config):
    """How IEMOCAP is read."""

    sound: Literal["turns", "dialogues"] = "turns"
    """``turns`` reads each turn's own file (sentences/wav), ``dialogues`` the speaker's channel of the dialogue's
    (dialog/wav). Where one is missing the other is used, and a note says so."""
    dev_sessions: tuple[int, ...] = (4,)
    """Sessions of the part dev; those that are in neither list are in train."""
    test_sessions: tuple[int, ...] = (5,)
    """Sessions of the part test."""


@dataclass(frozen=True)
class _Turn:
    """A line of an evaluation."""

    id: str
    start_s: float
    end_s: float
    label: str | None
    scales: Mapping[str, float]


@CORPORA.register("iemocap")
class Iemocap(Corpus):
    """IEMOCAP as distributed: ``Session1`` to ``Session5``, each with the folders ``dialog`` and ``sentences``.

    Every turn that was rated is an utterance. It keeps the label on which its annotators agree (none where they do
    not) and their mean valence, activation and dominance, so that one store serves all targets. A turn without
    picture, sound or words is used with what it has, and carries a note. Marks of laughter and the like are no words:
    they are taken out of the text and kept in a note.

    Two people are in each picture, side by side, and in each dialogue's sound, a channel each. The one named by the
    first part of the dialogue's name (``Ses01F``) is on the left, and in the first channel.
    """

    name = "iemocap"
    title = "IEMOCAP, Interactive Emotional Dyadic Motion Capture Database"
    licence = "research use, by agreement with its authors (SAIL, University of Southern California)"
    citation = (
        "Busso, C., Bulut, M., Lee, C.-C., Kazemzadeh, A., Mower, E., Kim, S., Chang, J. N., Lee, S., Narayanan, S. S. "
        "(2008). IEMOCAP: Interactive emotional dyadic motion capture database. Language Resources and Evaluation 42."
    )
    modalities = ("faces", "speech", "text")
    faces = "detect"
    identity = "none"
    label_counts: ClassVar[Mapping[str, int]] = {
        "anger": 1103, "happiness": 595, "excitement": 1041, "sadness": 1084, "neutral": 1708, "frustration": 1849,
    }  # fmt: skip
    scales: ClassVar[LabelSet | None] = LabelSet(_SCALES, "dimensional", ((1.0, 5.0),) * 3)
    targets: ClassVar[Mapping[str, Target]] = {
        "six-class": Target(labels=("anger", "excitement", "frustration", "happiness", "neutral", "sadness")),
        "four-class": Target(labels=("anger", "happiness", "neutral", "sadness"), merge={"excitement": "happiness"}),
        "dimensions": Target(scales=_SCALES),
    }
    Options = IemocapOptions

    @property
    def label_set(self) -> LabelSet:
        """All labels on which annotators agree; recipes choose among them with a target."""
        return LabelSet(_EMOTIONS)

    def items(self, source: Path) -> Iterator[Utterance | LeftOut]:
        """See `Corpus.items`; stretches of speech that were not rated are left out."""
        options = self._options
        if both := set(options.dev_sessions) & set(options.test_sessions):
            raise ConfigError(f"sessions {sorted(both)} are in dev and in test", item="options of the corpus iemocap")
        root, used = _root(Path(source)), False
        for number in _SESSIONS:
            folder = root / f"Session{number}"
            part = "dev" if number in options.dev_sessions else "test" if number in options.test_sessions else "train"
            if not folder.is_dir():
                yield LeftOut(folder.name, "no such file or folder: the whole session", part)
                continue
            for item in self._session(folder, number, part):
                used = used or isinstance(item, Utterance)
                yield item
        if not used:
            raise CorpusError("holds no turn with an evaluation", item=source,
                              remedy="Copy Session1/dialog/EmoEvaluation and the like.")  # fmt: skip

    @property
    def _options(self) -> IemocapOptions:
        assert isinstance(self.options, IemocapOptions)
        return self.options

    def _session(self, folder: Path, number: int, part: str) -> Iterator[Utterance | LeftOut]:
        """The items of one session, dialogue by dialogue."""
        dialogues: set[str] = set()
        for place, pattern in _PLACES.items():
            for path in _listed(folder / place, pattern):
                match = _DIALOGUE.fullmatch(path.stem)
                if match and int(match[1]) == number:
                    dialogues.add(path.stem)
                else:
                    yield LeftOut(f"{folder.name}/{place}/{path.name}", "the name is no dialogue of its session", part)
        for dialogue in sorted(dialogues):
            yield from self._dialogue(folder, dialogue, part)

    def _dialogue(self, folder: Path, dialogue: str, part: str) -> Iterator[Utterance | LeftOut]:
        turns = _read_evaluation(folder / "dialog/EmoEvaluation" / f"{dialogue}.txt", dialogue)
        words, other = _read_transcript(folder / "dialog/transcriptions" / f"{dialogue}.txt", dialogue)
        for turn in turns.values():
            yield self._utterance(folder, dialogue, turn, words.get(turn.id, []), part)
        recorded = [path.stem for path in _listed(folder / "sentences/wav" / dialogue, "*.wav")]
        transcribed = [id for id, lines in words.items() for _ in lines]
        unrated = [id for id in (*transcribed, *(id for id in recorded if id not in words)) if id not in turns] + other
        if not turns and not unrated:
            unrated = [dialogue]
        yield from (LeftOut(id, _UNRATED, part) for id in unrated)

    def _utterance(self, folder: Path, dialogue: str, turn: _Turn, words: list[str], part: str) -> Utterance:
        notes: list[str] = []
        named, letter = dialogue[5], turn.id[len(dialogue) + 1]
        side, channel = ("left", 0) if letter == named else ("right", 1)
        video: Path | None = folder / "dialog/avi/DivX" / f"{dialogue}.avi"
        assert video is not None
        if not video.is_file():
            notes.append("no picture: the dialogue's avi is missing")
            video = None
        own = folder / "sentences/wav" / dialogue / f"{turn.id}.wav"
        shared = folder / "dialog/wav" / f"{dialogue}.wav"
        wanted = (own, shared) if self._options.sound == "turns" else (shared, own)
        audio = next((path for path in wanted if path.is_file()), None)
        if audio is None:
            notes.append("no sound: the turn's wav and the dialogue's are missing")
        elif audio != wanted[0]:
            missing, taken = ("turn's", "dialogue's") if audio == shared else ("dialogue's", "turn's")
            notes.append(f"the {missing} wav is missing; the {taken} is taken")
        spoken = [_spoken(line) for line in words]
        if not any(spoken):
            notes.append("no words in the transcript")
        if len(set(words)) > 1:
            notes.append("several lines of the transcript; the first is taken")
        if marks := [mark for line in words for mark in _MARK.findall(line)]:
            notes.append(f"marks in the transcript that are no words: {' '.join(dict.fromkeys(marks))}")
        recording = Recording(
            id=dialogue,
            video=video,
            audio=audio,
            crop=None if video is None else HALVES[side],
            channel=channel if audio == shared else None,
            audio_starts_s=turn.start_s if audio == own else 0.0,
        )
        return Utterance(
            id=turn.id,
            recording=None if video is None and audio is None else recording,
            dialogue=dialogue,
            speaker=f"{dialogue[:5]}{letter}",
            start_s=turn.start_s,
            end_s=turn.end_s,
            text=next(filter(None, spoken), None),
            label=turn.label,
            part=part,
            session=folder.name,
            scales=turn.scales,
            notes=tuple(notes),
        )


def _spoken(line: str) -> str:
    """The words of a line of a transcript, without marks; nothing where there are marks alone."""
    if not _MARK.search(line):
        return line
    words = re.sub(r"\s+([,.;:?!])", r"\1", " ".join(_MARK.sub(" ", line).split())).lstrip(",.;:?! ")
    return words if re.search(r"\w", words) else ""


def _root(source: Path) -> Path:
    """The folder of the sessions: the source, or the one folder in it that holds them."""
    remedy = "Give the folder that holds Session1 to Session5, such as IEMOCAP_full_release."
    if not source.is_dir():
        raise CorpusError("no such folder", item=source, remedy=remedy)
    for folder in (source, *sorted(source.iterdir())):
        if any((folder / f"Session{number}").is_dir() for number in _SESSIONS):
            return folder
    raise CorpusError("holds no folder Session1 to Session5", item=source, remedy=remedy)


def _listed(folder: Path, pattern: str) -> list[Path]:
    """What is in a folder, sorted by name, without the ``._`` files in which macOS keeps its own notes."""
    return sorted(p for p in folder.glob(pattern) if not p.name.startswith("."))


def _turn_of(id: str, dialogue: str) -> bool:
    """Whether an id is the dialogue's and a letter for the speaker with a number."""
    return re.fullmatch(rf"{re.escape(dialogue)}_[FM]\w+", id) is not None


def _read_evaluation(path: Path, dialogue: str) -> dict[str, _Turn]:
    """The rated turns by id, in the file's order; the annotators' own lines are not read. Empty without a file.

    Raises:
        CorpusError: naming the line that is damaged or contradicts itself.
    """
    turns: dict[str, _Turn] = {}
    if not path.is_file():
        return turns
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("%"):
            continue
        where = f"{path}, line {number}"
        match = _RATED.fullmatch(line.strip())
        if match is None:
            if line.lstrip().startswith("[") or f"{dialogue}_" in line:
                raise CorpusError(f"is not [start - end], turn, label, [valence, activation, dominance]: {line[:80]!r}",
                                  item=where, remedy="Copy the file again, or correct the line.")  # fmt: skip
            continue
        turn = _turn(match, dialogue, where)
        if turn.id in turns:
            raise CorpusError(f"{turn.id} is rated twice", item=where, remedy="Keep one of the lines.")
        turns[turn.id] = turn
    return turns


def _turn(match: re.Match[str], dialogue: str, where: str) -> _Turn:
    start_s, end_s, *values = (_number(match[group], where) for group in (1, 2, 5, 6, 7))
    id, word = match[3], match[4]
    remedy = "Copy the file again, or correct the line."
    if not _turn_of(id, dialogue):
        raise CorpusError(f"{id} is no turn of {dialogue}", item=where, remedy=remedy)
    if end_s <= max(start_s, 0.0):
        raise CorpusError(f"{id}: end {end_s:g} s is not after start {start_s:g} s", item=where, remedy=remedy)
    label = None if word == _NO_AGREEMENT else canonical(word)
    if label is not None and label not in _EMOTIONS:
        raise CorpusError(f"{id}: unknown label {word!r}", item=where, remedy=remedy)
    return _Turn(id, start_s, end_s, label, dict(zip(_SCALES, values, strict=True)))


def _number(text: str, where: str) -> float:
    number = finite(text)
    if number is None:
        raise CorpusError(f"{text!r} is not a number", item=where, remedy="Copy the file again, or correct the line.")
    return number


def _read_transcript(path: Path, dialogue: str) -> tuple[dict[str, list[str]], list[str]]:
    """Words by turn, one for each of its lines, and names for the lines that are no turn's. Empty without a file.

    Raises:
        CorpusError: naming the line of a turn that is damaged.
    """
    words: dict[str, list[str]] = {}
    other: list[str] = []
    if not path.is_file():
        return words, other
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        match = _TRANSCRIPT_LINE.fullmatch(line.strip())
        if match and _turn_of(match[1], dialogue):
            words.setdefault(match[1], []).append(match[2].strip())
        elif line.lstrip().startswith(f"{dialogue}_"):
            raise CorpusError(f"is not turn [start-end]: words: {line[:80]!r}", item=f"{path}, line {number}",
                              remedy="Copy the file again, or correct the line.")  # fmt: skip
        else:
            other.append(f"{dialogue}, line {number} of the transcript")
    return words, other


__all__ = ["Iemocap", "IemocapOptions"]
