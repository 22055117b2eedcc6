"""Frames of a recording at sample times, by timestamp, in one decoding pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from maeum.errors import MediaError
from maeum.media.container import (
    LONGEST_GAP_S,
    checked_range,
    choose_video,
    clock_shift_s,
    duration_s,
    jump_note,
    name_of,
    open_media,
    origin_s,
)
from maeum.media.geometry import frame_to_rgb
from maeum.media.sample_times import GridTimes, ListedTimes, SampleTimes
from maeum.wording import counted, was

#: A picture that starts a little after the sound (reordered first frames) is shown from the start.
LATE_FIRST_FRAME_S = 0.25
#: A stream that ends this much before its header says is called truncated.
_MISSING_TAIL_S = 0.5
#: Some containers round timestamps to milliseconds: a frame does not outlast the stream by that.
_CLOCK_ROUNDING_S = 0.002
#: Decoding starts this far before the first sample time only when that is worth a seek.
_SEEK_FROM_S = 4.0
#: Packets that cannot be decoded, in a row, before the rest is given up.
_MOST_BAD_PACKETS = 50
#: Pictures that a codec may hold back to show them in another order than they are stored: 16 in H.264 and HEVC.
_REORDERED = 20


@dataclass(frozen=True)
class Frame:
    """One picture as shown at ``time_s``.

    time_s: the sample time, counted from the recording's start (0 s is where its earliest stream starts).
    rgb: ``(height, width, 3)`` uint8, upright, square pixels. pts_s: when this picture appeared; at most ``time_s``,
    except for a first picture that comes up to 0.25 s late.
    """

    time_s: float
    rgb: NDArray[np.uint8]
    pts_s: float


class FrameSampler(Iterator[Frame]):
    """Iterator over frames; what it had to put up with is in ``notes`` once it is exhausted."""

    def __init__(
        self, path: Path, times: SampleTimes, start_s: float, max_side_px: int | None, notes: Sequence[str]
    ) -> None:
        self.path = path
        self._notes = list(notes)
        self._frames = _walk(path, times, start_s, max_side_px, self._notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: a truncated file, damaged packets, times that show no picture."""
        return tuple(self._notes)

    def __next__(self) -> Frame:
        return next(self._frames)


def sample_frames(
    path: Path | str,
    every_s: float = 0.5,
    start_s: float = 0.0,
    end_s: float | None = None,
    times_s: Sequence[float] | None = None,
    max_side_px: int | None = 1920,
) -> FrameSampler:
    """The frames shown at ``start_s``, ``start_s + every_s``, ... before ``end_s``, or at ``times_s``.

    The frame shown at a time is the last one whose timestamp is not later; so a variable frame rate, a stream that
    starts late and any number of frames per second are one case. Each frame is decoded at most once; one that
    is neither sampled nor needed for others is left out. Only sampled ones become RGB; one is held at a time.

    Args:
        path: the recording.
        every_s: distance of the frames, in seconds (the papers: 0.5).
        start_s: first time. Before 0 it is moved to 0, for pictures as for sound, and a note says so.
        end_s: end of the stretch, excluded; None is the recording's end.
        times_s: ask for exactly these times instead (seconds; ``every_s``, ``start_s``, ``end_s`` are then ignored).
            Frames come in the order of time.
        max_side_px: frames with a longer side are scaled down to it while they are converted; None keeps every size.

    Returns:
        An iterator of `Frame`, with ``.notes`` after the last one. A time at which no picture is shown (before the
        first, after the last) gives no frame.

    Raises:
        MediaError: at once when the file cannot be opened, or has no picture stream, or the range is empty; from the
            first ``next`` when no frame at all can be decoded.
    """
    path = Path(path)
    times: SampleTimes
    if times_s is not None:
        listed = sorted(float(t) for t in times_s)
        if not np.isfinite(listed).all():
            raise MediaError(f"cannot be shown at times {list(times_s)}", item=path, remedy="Give times in seconds.")
        notes: tuple[str, ...] = ()
        start, times = (listed[0] if listed else 0.0), ListedTimes(listed)
    else:
        if not (every_s > 0 and np.isfinite(every_s)):
            raise MediaError(f"frames every {every_s} s are impossible", item=path, remedy="Give a distance above 0.")
        start, end, notes = checked_range(path, start_s, end_s)
        times = GridTimes(start, every_s, end)
    with open_media(path) as container:
        _require_video(container, path)
    return FrameSampler(path, times, start, max_side_px, notes)


def _require_video(container: InputContainer, path: Path) -> VideoStream:
    stream = choose_video(container)
    if stream is None:
        unknown = [f"stream {s.index}" for s in container.streams.video if s.codec_context is None]
        problem = (
            f"its picture {unknown[0]} has a codec that cannot be decoded" if unknown else "has no moving pictures"
        )
        raise MediaError(problem, item=path, remedy="Give a recording with a video stream, or use its sound only.")
    return stream


def _walk(
    path: Path, sample_times: SampleTimes, start_s: float, max_side_px: int | None, notes: list[str]
) -> Iterator[Frame]:
    """Pair sample times with decoded frames; both run forward once."""
    times = iter(sample_times)
    wanted_s = next(times, None)
    if wanted_s is None:
        return
    with open_media(path) as container:
        stream = _require_video(container, path)
        decoder = _Decoder(container, stream, path, notes, sample_times)
        shown: av.VideoFrame | None = None
        shown_s = 0.0
        for frame, pts_s in decoder.frames(start_s):
            if shown is None and wanted_s < pts_s - LATE_FIRST_FRAME_S:
                first_s = wanted_s
                while wanted_s is not None and wanted_s < pts_s - LATE_FIRST_FRAME_S:
                    wanted_s = next(times, None)
                notes.append(f"no picture from {first_s:g} s to {pts_s:.2f} s, where {name_of(stream)} starts")
            if wanted_s is None:
                return
            rgb: NDArray[np.uint8] | None = None
            while shown is not None and wanted_s < pts_s - 1e-6:
                rgb = decoder.rgb(shown, max_side_px) if rgb is None else rgb
                yield Frame(wanted_s, rgb, shown_s)
                wanted_s = next(times, None)
                if wanted_s is None:
                    return
            shown, shown_s = frame, pts_s
        if shown is None:
            return
        rgb = None
        until = shown_s + decoder.last_duration_s(shown)
        while wanted_s is not None and wanted_s < until - _CLOCK_ROUNDING_S:
            rgb = decoder.rgb(shown, max_side_px) if rgb is None else rgb
            yield Frame(wanted_s, rgb, shown_s)
            wanted_s = next(times, None)


class _Decoder:
    """Decoded frames of one stream with their times, at least those shown at sample times; damage becomes notes."""

    def __init__(
        self, container: InputContainer, stream: VideoStream, path: Path, notes: list[str], times: SampleTimes
    ) -> None:
        self.container, self.stream, self.path, self.notes, self.sample_times = container, stream, path, notes, times
        self.origin_s = origin_s(container) - clock_shift_s(container, stream, notes)
        self.clock_jumped = False
        self.step_s = 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
        stream.thread_type = "AUTO"

    def rgb(self, frame: av.VideoFrame, max_side_px: int | None) -> NDArray[np.uint8]:
        return frame_to_rgb(frame, self.stream.sample_aspect_ratio, max_side_px)

    def last_duration_s(self, frame: av.VideoFrame) -> float:
        """How long the last frame stays: what it says itself, else one average step."""
        if frame.duration and frame.time_base:
            return max(float(frame.duration * frame.time_base), self.step_s)
        return self.step_s

    def frames(self, start_s: float) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames from at or before ``start_s`` on, with their times in seconds from the recording's start.

        Raises:
            MediaError: when nothing at all can be decoded.
        """
        if start_s > _SEEK_FROM_S and self._seek(start_s):
            frames = self._timed()
            first = next(frames, None)
            if first is not None and first[1] <= start_s:
                yield first
                yield from self._finish(frames, first[1])
                return
            self._seek(None)  # the index misled: read from the beginning
        frames = self._timed()
        first = next(frames, None)
        if first is None:
            raise MediaError(
                f"{name_of(self.stream)} holds no frame that can be decoded",
                item=self.path,
                remedy="The file is cut off or damaged: copy it again, or use its sound only.",
            )
        yield first
        yield from self._finish(frames, first[1])

    def _finish(
        self, frames: Iterator[tuple[av.VideoFrame, float]], last_s: float
    ) -> Iterator[tuple[av.VideoFrame, float]]:
        stays_s = self.step_s
        for frame, pts_s in frames:
            last_s, stays_s = max(last_s, pts_s), self.last_duration_s(frame)
            yield frame, last_s
        length = duration_s(self.container, self.stream)
        if length is None or not self.stream.time_base:
            return
        begin = float((self.stream.start_time or 0) * self.stream.time_base) - self.origin_s
        read_to = last_s + stays_s
        if read_to < begin + length - max(_MISSING_TAIL_S, 2 * self.step_s):
            self.notes.append(
                f"truncated: {name_of(self.stream)} can be read to {read_to:.2f} s of {begin + length:.2f} s"
            )

    def _seek(self, start_s: float | None) -> bool:
        target = self.origin_s + (start_s if start_s is not None else -1.0)
        try:
            self.container.seek(int(target * av.time_base), backward=True)
        except (av.FFmpegError, OverflowError):
            return False
        self.stream.codec_context.flush_buffers()
        return True

    def _timed(self) -> Iterator[tuple[av.VideoFrame, float]]:
        expected_s: float | None = None
        for frame in self._decoded():
            if frame.pts is not None and frame.time_base:
                pts_s = float(frame.pts * frame.time_base) - self.origin_s
            else:
                pts_s = expected_s if expected_s is not None else 0.0
            if expected_s is not None and pts_s - expected_s > LONGEST_GAP_S:
                self.origin_s += pts_s - expected_s
                self.notes.append(jump_note(self.stream, expected_s))
                pts_s = expected_s
            expected_s = pts_s + self.step_s
            yield frame, pts_s

    def _packets(self) -> Iterator[av.Packet[VideoStream]]:
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.notes.append(f"truncated: {name_of(self.stream)} cannot be read further ({error.strerror})")
                return
            if packet is None:
                return
            yield packet

    def _needed_packets(self) -> Iterator[tuple[av.Packet[VideoStream], bool]]:
        """Packets in the order of decoding, and whether a sample time shows its picture.

        A picture is shown until the next one is, which may come later in the file but not by more packets than a codec
        can hold back. Where a packet does not say its time, all count as needed.
        """
        ahead: deque[av.Packet[VideoStream]] = deque()
        near: deque[int | None] = deque(maxlen=2 * _REORDERED + 1)  # times of packets around the one in turn
        packets = self._packets()
        while True:
            while len(ahead) <= _REORDERED and (packet := next(packets, None)) is not None:
                ahead.append(packet)
                near.append(packet.pts)
            if not ahead:
                return
            packet = ahead.popleft()
            yield packet, self._is_shown(packet, near)

    def _is_shown(self, packet: av.Packet[VideoStream], near: Iterable[int | None]) -> bool:
        if packet.pts is None or packet.time_base is None:
            return True
        later = [pts for pts in near if pts is not None and pts > packet.pts]
        if not later:
            return True
        start_s, end_s = (float(pts * packet.time_base) - self.origin_s for pts in (packet.pts, min(later)))
        if end_s - start_s > LONGEST_GAP_S:
            self.clock_jumped = True  # times of packets ahead no longer say when their pictures are shown
        return self.clock_jumped or self.sample_times.any_within(start_s - _CLOCK_ROUNDING_S, end_s + _CLOCK_ROUNDING_S)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        bad = total_bad = 0
        begun = False
        for packet, needed in self._needed_packets():
            # pictures that no other one is made from cost nothing when they are left out
            self.stream.codec_context.skip_frame = "DEFAULT" if needed or not begun else "NONREF"
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                bad, total_bad = bad + 1, total_bad + 1
                if bad > _MOST_BAD_PACKETS:
                    break
                continue
            bad = 0
            begun = begun or bool(decoded)
            for frame in decoded:
                assert isinstance(frame, av.VideoFrame)
                yield frame
        if total_bad:
            self.notes.append(
                f"{name_of(self.stream)}: {counted(total_bad, 'damaged packet')} {was(total_bad)} left out"
            )
