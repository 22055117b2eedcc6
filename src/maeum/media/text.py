"""Sidecar transcripts: SubRip, WebVTT, plain text and the JSON that speech recognisers write."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from maeum.errors import MediaError, TranscriptError
from maeum.media.container import check_file


@dataclass(frozen=True)
class TranscriptLine:
    """A line of a transcript: its words, their times and their speaker; None where the transcript does not say."""

    text: str
    start_s: float | None = None
    end_s: float | None = None
    speaker: str | None = None


def read_transcript(path: Path | str) -> list[TranscriptLine]:
    """Read ``.srt``, ``.vtt``, ``.txt`` or ``.json``.

    Any of UTF-8 (with or without a mark), UTF-16 and Latin-1, with any line ends. JSON may be a list of
    ``{"start", "end", "text" | "word"}`` or an object with ``segments``, ``words`` or ``text``, as recognisers write
    it; words without segments are joined to sentences.

    Returns:
        Lines with text in the order of their start (lines without times: as they stand). Overlaps are kept.

    Raises:
        TranscriptError: when the file cannot be read, is of another kind, or a line makes no sense; it names the line.
    """
    return read_noted_transcript(path)[0]


def read_noted_transcript(path: Path | str) -> tuple[list[TranscriptLine], tuple[str, ...]]:
    """The same, and what there is to note: that the file ends within a line, as a copy does that was cut off."""
    path = Path(path)
    notes: list[str] = []
    readers: dict[str, Callable[[str, Path], list[TranscriptLine]]] = {
        ".srt": partial(_subtitles, notes=notes), ".vtt": partial(_subtitles, notes=notes),
        ".txt": _plain, ".json": _json,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TranscriptError(
            f"has the unknown extension {path.suffix!r}", item=path, remedy=f"Give one of {', '.join(readers)}."
        )
    lines = [line for line in reader(_decoded(path), path) if line.text]
    if not lines:
        raise TranscriptError("holds no text", item=path, remedy="Leave the transcript out, or give one with words.")
    if all(line.start_s is not None for line in lines):
        lines.sort(key=lambda line: line.start_s or 0.0)
    return lines, tuple(notes)


def _decoded(path: Path) -> str:
    try:
        check_file(path)
        data = path.read_bytes()
    except MediaError as error:
        raise TranscriptError(error.problem, item=path, remedy=error.remedy) from error
    except OSError as error:
        raise TranscriptError(f"cannot be read: {error.strerror}", item=path) from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif _is_utf_16(data):
        encodings = ["utf-16-le" if data[1:2] == b"\0" else "utf-16-be"]
    else:
        encodings = ["utf-8-sig", "cp1252", "latin-1"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            line = text[: text.index("\0")].count("\n") + 1
            raise TranscriptError(f"line {line}: holds the byte 0, so the file is damaged or not text", item=path,
                                  remedy="Copy it again, or give a transcript saved as UTF-8.")  # fmt: skip
        return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    raise TranscriptError("is not text", item=path, remedy="Give a transcript saved as UTF-8.")


def _is_utf_16(data: bytes) -> bool:
    """Whether text without a mark is UTF-16: letters, digits and blanks have a zero in one byte of their two."""
    zeros = [place % 2 for place, byte in enumerate(data[:200]) if byte == 0]
    return len(data) % 2 == 0 and len(zeros) > len(data[:200]) / 20 and len(set(zeros)) == 1


#: Of the hours of a time; a thousand years have seven.
_MOST_DIGITS = 7
_LATEST_S = 10.0**_MOST_DIGITS * 3600
_CLOCK = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"^\s*{_CLOCK}\s*-+>\s*{_CLOCK}(?:\s+.*)?$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<\d[\d:.]*>|\{\\[^}]*\}")
_BLOCK = re.compile(r"^(NOTE|STYLE|REGION)\b")


def _subtitles(text: str, path: Path, notes: list[str]) -> list[TranscriptLine]:
    rows = text.rstrip().split("\n")
    cues: list[TranscriptLine] = []
    stray = 0  # the line of a number or a part of a time that no cue followed
    row = 1 if rows and rows[0].startswith("WEBVTT") else 0
    while row < len(rows):
        if "-->" not in rows[row]:
            if _BLOCK.match(rows[row]) and not _is_name_of_cue(rows, row):
                row = _next_blank(rows, row)
            elif _PART_OF_CUE.fullmatch(rows[row]):
                stray = stray or row + 1
            row += 1
            continue
        if cues and row == len(rows) - 1:  # nothing is spoken, and its times may be cut off
            stray = row + 1
            break
        stray = 0
        start_s, end_s = _timing(rows[row], path, row + 1)
        last = _end_of_cue(rows, row + 1)
        if last >= len(rows) and not any(map(str.strip, rows[row + 1 : last])):
            stray = row + 1
        cues.extend(_voices(" ".join(r.strip() for r in rows[row + 1 : last] if r.strip()), start_s, end_s))
        row = last
    if not text.startswith("WEBVTT") and text.strip() and "-->" not in text:
        raise TranscriptError(
            "line 1: there is no time such as 00:00:01,000 --> 00:00:02,500 in the file", item=path,
            remedy="Give a SubRip or WebVTT file, or call it .txt when it has no times.",
        )  # fmt: skip
    if stray:
        notes.append(
            f"the transcript ends within a line (line {stray} of its file), which is left out: was it cut off?"
        )
    return cues


#: The number of a cue, with or without the beginning of its times.
_PART_OF_CUE = re.compile(r"\s*\d+\s*|\s*[\d:.,]+\s*-*\s*")


def _is_name_of_cue(rows: list[str], row: int) -> bool:
    """Whether a line that looks like a block's head is a cue's name: the next line is a timing."""
    return row + 1 < len(rows) and "-->" in rows[row + 1]


def _next_blank(rows: list[str], row: int) -> int:
    while row < len(rows) and rows[row].strip():
        row += 1
    return row


def _end_of_cue(rows: list[str], row: int) -> int:
    """The row after a cue's text: a blank one, or the number or timing of a next cue without a blank between."""
    while row < len(rows) and rows[row].strip():
        numbered = rows[row].strip().isdigit() and row + 1 < len(rows) and "-->" in rows[row + 1]
        if numbered or _TIMING.match(rows[row]):
            break
        row += 1
    return row


def _timing(line: str, path: Path, number: int) -> tuple[float, float]:
    match = _TIMING.match(line)
    if match is None:
        raise TranscriptError(
            f"line {number}: {line.strip()!r} is not a time", item=path, remedy="Write 00:00:01,000 --> 00:00:02,500."
        )
    start_s, end_s = (_seconds(match.groups()[i : i + 4], path, number) for i in (0, 4))
    if end_s < start_s:
        raise TranscriptError(
            f"line {number}: the end, {end_s:g} s, is before the start, {start_s:g} s",
            item=path,
            remedy="Mend the times.",
        )
    return start_s, end_s


def _seconds(clock: tuple[str | None, ...], path: Path, number: int) -> float:
    if len(clock[0] or "") > _MOST_DIGITS:
        raise TranscriptError(
            f"line {number}: {clock[0]:.20}... hours are no time", item=path, remedy="Mend the times."
        )
    hours, minutes, seconds, fraction = (int(part or 0) for part in (*clock[:3], (clock[3] or "0").ljust(3, "0")))
    if minutes > 59 or seconds > 59:
        raise TranscriptError(f"line {number}: {minutes}:{seconds} is not a time", item=path, remedy="Mend the times.")
    return hours * 3600 + minutes * 60 + seconds + fraction / 1000


def _voices(text: str, start_s: float, end_s: float) -> Iterable[TranscriptLine]:
    """One line per ``<v Name>`` of a cue; a cue without one is one line."""
    parts = _VOICE.split(text)
    for speaker, words in zip([None, *parts[1::2]], parts[::2], strict=True):
        clean = _clean(words)
        if clean:
            yield TranscriptLine(clean, start_s, end_s, html.unescape(speaker).strip() if speaker else None)


def _clean(text: str) -> str:
    return " ".join(html.unescape(_TAG.sub("", text)).split())


def _plain(text: str, _: Path) -> list[TranscriptLine]:
    """One line per line; what stands in it, colons too, is text."""
    return [TranscriptLine(" ".join(row.split())) for row in text.split("\n")]


_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]['\")\]]*$")
_LONGEST_PAUSE_S = 0.8


def _json(text: str, path: Path) -> list[TranscriptLine]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise TranscriptError(f"line {error.lineno}: is not JSON ({error.msg})", item=path, remedy=_SHAPES) from error
    except RecursionError as error:
        raise TranscriptError("is nested too deeply", item=path, remedy=_SHAPES) from error
    except ValueError as error:  # thousands of digits
        raise TranscriptError("holds a number that is too long", item=path, remedy=_SHAPES) from error
    if isinstance(data, Mapping):
        for key in ("segments", "chunks", "utterances", "words"):
            if isinstance(data.get(key), list):
                return _entries(data[key], key, path)
        if isinstance(data.get("text"), str):
            return [TranscriptLine(_plain_text(data["text"]))]
    if isinstance(data, list):
        return _entries(data, "entry", path)
    raise TranscriptError("holds no transcript", item=path, remedy=_SHAPES)


_SHAPES = 'Give {"segments": [{"start": 0.0, "end": 1.2, "text": "..."}]}, or such a list.'


def _entries(entries: list[Any], kind: str, path: Path) -> list[TranscriptLine]:
    lines, words = [], True
    for number, entry in enumerate(entries, 1):
        where = f"{kind} {number}"
        if isinstance(entry, str):
            entry = {"text": entry}
        if not isinstance(entry, Mapping):
            raise TranscriptError(f"{where} is not an object with text and times", item=path, remedy=_SHAPES)
        spoken = next((entry[k] for k in ("text", "word", "transcript", "punctuated_word") if k in entry), None)
        if spoken is None and isinstance(entry.get("words"), list):
            spoken = " ".join(str(w.get("word", w.get("text", ""))) for w in entry["words"] if isinstance(w, Mapping))
        if not isinstance(spoken, str):
            raise TranscriptError(f"{where} has no text", item=path, remedy=_SHAPES)
        words = words and ("word" in entry or kind == "words")
        start_s, end_s = _times(entry, where, path)
        speaker = entry.get("speaker")
        lines.append(TranscriptLine(_plain_text(spoken), start_s, end_s, str(speaker) if speaker is not None else None))
    return _sentences(lines) if words else lines


def _times(entry: Mapping[str, Any], where: str, path: Path) -> tuple[float | None, float | None]:
    start, end = entry.get("start", entry.get("start_s")), entry.get("end", entry.get("end_s"))
    stamp = entry.get("timestamp")
    if start is None and isinstance(stamp, list | tuple) and len(stamp) == 2:
        start, end = stamp
    times = []
    for name, value in (("start", start), ("end", end)):
        number_like = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number_like and 0 <= value <= _LATEST_S):
            raise TranscriptError(
                f"{where}: {name} {_short(value)} is not a time in seconds", item=path, remedy=_SHAPES
            )
        times.append(None if value is None else float(value))
    start_s, end_s = times
    if start_s is not None and end_s is not None and end_s < start_s:
        raise TranscriptError(
            f"{where}: the end, {end_s:g} s, is before the start, {start_s:g} s", item=path, remedy="Mend the times."
        )
    return start_s, end_s


def _sentences(words: list[TranscriptLine]) -> list[TranscriptLine]:
    """Words joined until a sentence ends, somebody else speaks or there is a pause."""
    groups: list[list[TranscriptLine]] = []
    for word in (w for w in words if w.text):
        if groups and not _parted(groups[-1][-1], word):
            groups[-1].append(word)
        else:
            groups.append([word])
    return [
        TranscriptLine(" ".join(w.text for w in group), group[0].start_s, group[-1].end_s, group[0].speaker)
        for group in groups
    ]


def _parted(before: TranscriptLine, after: TranscriptLine) -> bool:
    if _SENTENCE_END.search(before.text) or before.speaker != after.speaker:
        return True
    if before.end_s is None or after.start_s is None:
        return False
    return after.start_s - before.end_s > _LONGEST_PAUSE_S


def _plain_text(text: str) -> str:
    """Words with one blank between them; an escape that is half of a sign becomes a question mark."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _short(value: object) -> str:
    return repr(value) if not isinstance(value, int) or abs(value) < 10**15 else "of more than 15 digits"
