"""Opening a media file and choosing its streams; every failure becomes one clear error."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from maeum.errors import MediaError
from maeum.files import check_regular

#: Timestamps that jump further ahead are a new clock, not a silence or a still picture.
LONGEST_GAP_S = 600.0
#: Demuxers that make pictures out of any text file.
_TEXT_DEMUXERS = frozenset({"tty"})


@contextmanager
def open_media(path: Path | str) -> Iterator[InputContainer]:
    """Open a file for reading by its content; the extension does not matter.

    Args:
        path: a local file. Addresses are not followed, and a playlist cannot reach beyond local files.

    Raises:
        MediaError: when there is no such file, it is a directory, empty, not permitted, or not media.
    """
    path = Path(path)
    check_file(path)
    try:
        # "file:" keeps a colon in the name from being read as a protocol.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(_why_not_opened(path, error), item=path, remedy=_REMEDY_CONTENT) from error
    try:
        if container.format.name in _TEXT_DEMUXERS:
            raise MediaError("is text, not a recording", item=path, remedy=_REMEDY_CONTENT)
        yield container
    finally:
        container.close()


_REMEDY_CONTENT = "Give a video or audio file that a player can play, such as mp4, mkv, mov, wav, mp3 or flac."


def check_file(path: Path) -> None:
    """Raise MediaError unless the path is a readable file, no pipe or device, that is not empty."""
    try:
        if path.is_dir():
            raise MediaError("is a directory", item=path, remedy="Give a file, or each file in it one by one.")
        if not path.exists():
            raise MediaError("no such file", item=path, remedy="Check the path's spelling and the current directory.")
        check_regular(path, MediaError)
        if path.stat().st_size == 0:
            raise MediaError("is empty (0 bytes)", item=path, remedy="Copy or download it again.")
    except (OSError, ValueError) as error:
        raise MediaError(f"cannot be looked up: {error}", item=path, remedy="Check the path.") from error
    if not os.access(path, os.R_OK):
        raise MediaError("may not be read by this user", item=path, remedy="Change its permissions, or copy it.")


def _why_not_opened(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(4096)
    if head[4:8] == b"ftyp":
        return "is an MP4/MOV file without its index (moov): the recording or the copy was cut off before its end"
    if not head.strip(b"\0"):
        return "holds nothing but zeros: the copy failed"
    if b"\0" not in head and _is_text(head):
        return "is text, not a recording"
    reason = getattr(error, "strerror", None) or str(error)
    return f"is not media that can be decoded ({reason})"


def _is_text(head: bytes) -> bool:
    try:
        head[:-4].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_picture_of_an_album(stream: VideoStream) -> bool:
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Streams with moving pictures: an MP3's cover is not one."""
    return [s for s in container.streams.video if not _is_picture_of_an_album(s)]


def choose_video(container: InputContainer) -> VideoStream | None:
    """The stream that a player would show: the default one, then the largest, then the first. None without any."""
    usable = [s for s in video_streams(container) if s.codec_context is not None]
    return max(usable, key=lambda s: (_is_default(s), s.width * s.height, -s.index), default=None)


def choose_audio(container: InputContainer) -> AudioStream | None:
    """The stream that a player would play: the default one, then the first. None without any."""
    usable = [s for s in container.streams.audio if s.codec_context is not None]
    return max(usable, key=lambda s: (_is_default(s), -s.index), default=None)


def _is_default(stream: VideoStream | AudioStream) -> bool:
    return bool(stream.disposition & Disposition.default)


def origin_s(container: InputContainer) -> float:
    """The moment, on the file's own clock, that counts as 0 s: where its earliest stream starts."""
    start: Any = container.start_time  # None when no stream says it, whatever the stub promises
    if start is not None:
        return float(start / av.time_base)
    starts = [float(s.start_time * s.time_base) for s in container.streams if s.start_time is not None and s.time_base]
    return min(starts, default=0.0)


def clock_shift_s(container: InputContainer, stream: VideoStream | AudioStream, notes: list[str]) -> float:
    """What to add to a stream's timestamps (minus `origin_s`): 0, unless it claims to start absurdly late.

    A stream that claims to start more than 600 s late has another clock: it is read from 0 s on, with a note.
    """
    if stream.start_time is None or not stream.time_base:
        return 0.0
    late_s = float(stream.start_time * stream.time_base) - origin_s(container)
    if late_s <= LONGEST_GAP_S:
        return 0.0
    notes.append(f"{name_of(stream)} claims to start at {late_s:.2f} s; read from 0 s on")
    return -late_s


def jump_note(stream: VideoStream | AudioStream, time_s: float) -> str:
    """The note on a clock that jumped while a stream was read."""
    return f"{name_of(stream)}: the file's clock jumps at {time_s:.2f} s; read on without a gap"


def name_of(stream: VideoStream | AudioStream) -> str:
    """How errors and notes call a stream: ``video stream 0 (h264)``."""
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    return f"{stream.type} stream {stream.index} ({codec})"


_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def duration_s(container: InputContainer, stream: VideoStream | AudioStream | None = None) -> float | None:
    """Length of the file, or of one stream, as its header states it; None when it does not."""
    if stream is not None and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if stream is not None and (tag := _CLOCK.fullmatch(stream.metadata.get("DURATION", ""))):
        hours, minutes, seconds = map(float, tag.groups())  # how Matroska keeps it; the file may be longer
        return hours * 3600 + minutes * 60 + seconds or None
    return container.duration / av.time_base if container.duration and container.duration > 0 else None


def checked_range(path: Path, start_s: float, end_s: float | None) -> tuple[float, float, tuple[str, ...]]:
    """The stretch to read, the same for pictures and sound.

    A start before the recording is moved to 0 s, which a note says.

    Returns:
        start in seconds, end in seconds (infinity for the recording's end), notes.

    Raises:
        MediaError: when a bound is not a number or the end is not after the start.
    """
    end = float("inf") if end_s is None else float(end_s)
    if start_s != start_s or end != end or start_s == float("inf"):
        raise MediaError(f"cannot be read from {start_s} s to {end_s} s", item=path, remedy="Give times in seconds.")
    notes: tuple[str, ...] = ()
    if start_s < 0:
        notes = (f"start {start_s:g} s is before the recording; read from 0 s",)
    if end <= max(start_s, 0.0):
        raise MediaError(f"end {end:g} s is not after start {start_s:g} s", item=path, remedy="Give a later end.")
    return max(start_s, 0.0), end, notes
