"""CMU-MOSEI's labels: each annotator's answers as tables, or their means as a computational sequence."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from maeum.corpora.base import LeftOut
from maeum.corpora.tables import decode_text, finite, read_table
from maeum.errors import CorpusError
from maeum.labels import canonical

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
Clip = tuple[str, int]
Rule = Literal["sum", "mean", "majority"]

_COLUMNS = tuple(f"answer.{name}" for name in (*EMOTIONS, "sentiment"))
_UNANSWERED = ("", "{}", "na", "n/a", "nan", "none", "null")
#: The order that the authors state, for sequences whose metadata do not say it.
_CSD_COLUMNS = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
#: Times of a sequence and of a transcript are the same, save for rounding.
_SAME_S = 0.05

_Answers = tuple[float | None, ...]


@dataclass(frozen=True)
class Rating:
    """The ratings of one clip: a value from each annotator who answered, 0..3 for an emotion, -3..3 for sentiment.

    Of a sequence, which has no more, the one value is the annotators' mean.
    """

    values: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()

    def label(self, rule: Rule, threshold: float) -> tuple[str, ...] | None:
        """The emotions that are present; None when nobody answered about any.

        Args:
            rule: whether the ``sum`` or the ``mean`` of the values has to be above the threshold, or the values of a
                ``majority`` (more than half) of those who answered.
            threshold: see ``rule``.
        """
        if not any(self.values[name] for name in EMOTIONS):
            return None
        return tuple(name for name in EMOTIONS if _present(self.values[name], rule, threshold))

    @property
    def sentiment(self) -> float | None:
        """The annotators' mean; None when nobody answered."""
        return fmean(self.values["sentiment"]) if self.values["sentiment"] else None


def _present(values: Sequence[float], rule: Rule, threshold: float) -> bool:
    if not values:
        return False
    if rule == "majority":
        return 2 * sum(value > threshold for value in values) > len(values)
    return (math.fsum(values) if rule == "sum" else fmean(values)) > threshold


def video_id(text: str) -> str:
    """A video's id as its files are named: without folders before it, nor the ``.0`` of one read as a number."""
    name = text.strip().replace("\\", "/").rsplit("/", 1)[-1]
    return name[:-2] if re.fullmatch(r"\d+\.0", name) else name


def is_table(path: Path) -> bool:
    """Whether a CSV's header names a clip and what was answered about it."""
    try:
        with path.open("rb") as file:
            header = decode_text(file.read(1 << 16)).split("\n", 1)[0].lower()
    except OSError as error:
        raise CorpusError(f"cannot be read: {error.strerror or error}", item=path) from error
    return "input.video_id" in header and "answer." in header


@dataclass
class _Rows:
    """The rows about one clip. Where annotators are named each counts once, else rows may be equal and all count."""

    named: dict[str, _Answers] = field(default_factory=dict)
    unnamed: Counter[_Answers] = field(default_factory=Counter)
    contradicted: bool = False

    def add(self, annotator: str, answers: _Answers) -> None:
        if not annotator:
            self.unnamed[answers] += 1
        elif self.named.setdefault(annotator, answers) != answers:
            self.contradicted = True

    def join(self, other: _Rows) -> None:
        """Take over the rows of another table. What is in both is a copy: authors distribute batches twice."""
        for annotator, answers in other.named.items():
            self.add(annotator, answers)
        self.unnamed |= other.unnamed
        self.contradicted = self.contradicted or other.contradicted

    def rating(self) -> Rating:
        rows = [*self.named.values(), *self.unnamed.elements()]
        columns = zip(*rows, strict=True)
        values = {
            name: tuple(value for value in column if value is not None)
            for name, column in zip((*EMOTIONS, "sentiment"), columns, strict=True)
        }
        notes = []
        if self.contradicted:
            notes.append("an annotator answered twice, and differently; the first answer is taken")
        if any(values[name] for name in EMOTIONS) and (none := [name for name in EMOTIONS if not values[name]]):
            notes.append(f"nobody answered about {', '.join(none)}; taken as absent")
        return Rating(values, tuple(notes))


def read_tables(paths: Sequence[Path]) -> tuple[dict[Clip, Rating], list[LeftOut]]:
    """Ratings by clip, and the rows that name none.

    Args:
        paths: CSV files with the columns Input.VIDEO_ID, Input.CLIP, Answer.anger ... Answer.sentiment. Annotators are
            told apart by AssignmentId or WorkerId where there is such a column.

    Raises:
        CorpusError: when a column is missing, or naming the line of an answer that is no number.
    """
    clips: dict[Clip, _Rows] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        of_table: dict[Clip, _Rows] = {}
        for number, row in read_table(path, ("input.video_id", "input.clip", *_COLUMNS)):
            video, clip = video_id(row["input.video_id"]), _clip(row.get("input.clip", ""))
            if not video or clip is None:
                left_out.append(LeftOut(f"{path.name}, line {number}", "the row names no clip"))
                continue
            answers = tuple(_answer(row.get(name, ""), name, f"{path}, line {number}") for name in _COLUMNS)
            annotator = row.get("assignmentid", "") or row.get("workerid", "")
            of_table.setdefault((video, clip), _Rows()).add(annotator, answers)
        for key, rows in of_table.items():
            clips.setdefault(key, _Rows()).join(rows)
    return {key: rows.rating() for key, rows in clips.items()}, left_out


def _clip(text: str) -> int | None:
    return int(float(text)) if re.fullmatch(r"\d+(\.0*)?", text) else None


def _answer(text: str, column: str, where: str) -> float | None:
    if text.lower() in _UNANSWERED:
        return None
    number = finite(text)
    if number is None:
        raise CorpusError(f"{column} {text!r} is not a number", item=where, remedy="Correct the row, or empty it.")
    return number


def read_sequence(path: Path, times: Mapping[Clip, tuple[float, float]]) -> tuple[dict[Clip, Rating], list[LeftOut]]:
    """Ratings by clip from a ``.csd`` file, and the intervals that are no clip's.

    Its segments are not numbered as clips are, so each goes to the clip of its video with the same times.

    Args:
        path: HDF5 as the CMU-MultimodalSDK writes it: ``<root>/data/<video>/features`` and ``intervals``.
        times: clip -> start and end in seconds.

    Raises:
        CorpusError: when it cannot be read, or h5py is not installed.
    """
    of_video: dict[str, list[Clip]] = {}
    for clip in times:
        of_video.setdefault(clip[0], []).append(clip)
    ratings: dict[Clip, Rating] = {}
    left_out: list[LeftOut] = []
    for video, number, span, values in _segments(path):
        clips = (
            clip
            for clip in of_video.get(video, [])
            if clip not in ratings and max(abs(a - b) for a, b in zip(times[clip], span, strict=True)) < _SAME_S
        )
        if (found := next(clips, None)) is not None:
            ratings[found] = Rating({name: () if math.isnan(v) else (v,) for name, v in values.items()})
        else:
            left_out.append(LeftOut(f"{video}, segment {number} of {path.name}", "no line in the transcripts"))
    return ratings, left_out


def _segments(path: Path) -> Iterator[tuple[str, int, tuple[float, float], dict[str, float]]]:
    """Video, number, start and end, and name -> value, of each segment of a sequence."""
    try:
        import h5py
    except ImportError as error:
        raise CorpusError(
            "h5py, which reads it, is not installed",
            item=path,
            remedy="Run `pip install 'maeum[mosei]'`, or copy Labels/*.csv, which need nothing.",
        ) from error
    try:
        with h5py.File(path, "r") as file:  # type: ignore[no-untyped-call,attr-defined,unused-ignore]
            (root,) = file.values()
            columns = _csd_columns(root)
            for video in sorted(root["data"]):
                features, intervals = root["data"][video]["features"][()], root["data"][video]["intervals"][()]
                if features.shape != (len(intervals), len(columns)) or intervals.shape != (len(features), 2):
                    raise CorpusError(
                        f"{video}: features {features.shape} and intervals {intervals.shape} are not "
                        f"(segments, {len(columns)}) and (segments, 2)",
                        item=path,
                    )
                name = re.sub(r"\[\d+\]$", "", video)
                for number, (span, row) in enumerate(zip(intervals.tolist(), features.tolist(), strict=True)):
                    yield name, number, (span[0], span[1]), dict(zip(columns, row, strict=True))
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CorpusError(f"is no computational sequence of labels ({error})", item=path,
                          remedy="Copy CMU_MOSEI_Labels.csd again.") from error  # fmt: skip


def _csd_columns(root: Any) -> tuple[str, ...]:
    """Our names of the features' columns."""
    names: Sequence[str] = _CSD_COLUMNS
    if "dimension names" in root.get("metadata", {}):
        names = json.loads(root["metadata"]["dimension names"][0])
    columns = tuple(canonical(name) for name in names)
    if sorted(columns) != sorted((*EMOTIONS, "sentiment")):
        raise ValueError(f"its columns are {', '.join(names)}")
    return columns


__all__ = ["EMOTIONS", "Clip", "Rating", "Rule", "is_table", "read_sequence", "read_tables", "video_id"]
