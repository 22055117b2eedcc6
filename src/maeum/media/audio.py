"""Sound of any layout and rate as 16 kHz mono at its true level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from maeum.errors import InputError, MediaError
from maeum.media.container import (
    LONGEST_GAP_S,
    checked_range,
    choose_audio,
    clock_shift_s,
    duration_s,
    jump_note,
    name_of,
    open_media,
    origin_s,
)
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.wording import counted, was

_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 1_000, 768_000
_MOST_CHANNELS = 64
#: Frames with this many planes or more are interleaved before they are read.
_MOST_PLANES = 8
#: Timestamps that disagree with the sample count by less are jitter.
_JITTER_S = 0.04
_GAP_TO_REPORT_S = 0.1
_MISSING_TAIL_S = 0.5
#: Decoding starts this much before the stretch, so that decoders with memory have settled.
_PREROLL_S = 1.0
_SEEK_FROM_S = 10.0
_MOST_BAD_PACKETS = 200
#: Float samples above this are not audio at full scale 1.0.
_LOUDEST = 16.0


@dataclass(frozen=True)
class Audio:
    """Sound of a stretch of a recording.

    samples: float32 ``(n,)``, full scale 1.0; sample 0 is at the stretch's start, so it is aligned with the pictures.
    notes: what the user should know (truncated, gaps filled with silence, samples that are not numbers).
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int = SAMPLE_RATE_HZ
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate_hz


def to_mono_16k(samples: NDArray[Any], sample_rate_hz: int) -> NDArray[np.float32]:
    """Samples of any rate as 16 kHz mono: the mean of the channels, resampled.

    Args:
        samples: ``(n,)`` or ``(channels, n)``. Floats have full scale 1.0; integers are scaled by their type's range
            (unsigned bytes around 128).
        sample_rate_hz: their rate.

    Returns:
        ``(round(n * 16000 / sample_rate_hz),)`` float32.

    Raises:
        InputError: when the shape, the rate or the type is not sound, or a sample is NaN or infinite.
    """
    samples = np.asarray(samples)
    rate = _checked_rate(sample_rate_hz)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise InputError(
            f"audio of shape {samples.shape} is not (samples,) or (channels, samples)", item="audio",
            remedy="Give at least one sample, channels first.",
        )  # fmt: skip
    if samples.ndim == 2 and samples.shape[0] > _MOST_CHANNELS:
        raise InputError(
            f"audio of shape {samples.shape} has {samples.shape[0]} channels", item="audio",
            remedy="Channels come first: transpose it.",
        )  # fmt: skip
    mono = _as_float(np.atleast_2d(samples)).mean(axis=0, dtype=np.float32)
    bad = int(np.count_nonzero(~np.isfinite(mono)))
    if bad:
        raise InputError(
            f"{bad} of {mono.size} audio samples are NaN or infinite", item="audio",
            remedy="Replace them, for example with numpy.nan_to_num, if the rest is sound.",
        )  # fmt: skip
    return _resampled(mono, rate)


def _checked_rate(rate: object) -> int:
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.integer | np.floating) or rate != rate:
        raise InputError(f"sample_rate_hz = {rate!r} is not a number", item="audio", remedy="Give it in Hz.")
    if not _LOWEST_RATE_HZ <= rate <= _HIGHEST_RATE_HZ or rate != int(rate):
        raise InputError(
            f"sample_rate_hz = {rate!r} is not a whole number of Hz from {_LOWEST_RATE_HZ} to {_HIGHEST_RATE_HZ}",
            item="audio",
            remedy="Give the rate in Hz, such as 16000 or 48000.",
        )
    return int(rate)


def _as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples at full scale 1.0; raises InputError on a type that is not sound."""
    kind = samples.dtype.kind
    if kind == "f":
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / 128.0
    if kind == "i":
        scale = float(-np.iinfo(samples.dtype).min)
        return (samples.astype(np.float64) / scale).astype(np.float32)
    raise InputError(
        f"audio of type {samples.dtype} is not sound", item="audio", remedy="Give floats or signed integers."
    )


def _resampled(mono: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    if rate_hz == SAMPLE_RATE_HZ:
        return np.ascontiguousarray(mono)
    out: NDArray[np.float32] = soxr.resample(mono, rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    wanted = max(1, round(mono.size * SAMPLE_RATE_HZ / rate_hz))
    return np.pad(out[:wanted], (0, max(0, wanted - out.size)))


def read_audio(path: Path | str, start_s: float = 0.0, end_s: float | None = None, channel: int | None = None) -> Audio:
    """The sound of a recording, 16 kHz mono, aligned with its pictures.

    Channels are averaged before resampling (a downmix matrix would change the level by up to 3 dB). Where the audio
    stream starts late or has a hole, there is silence, so that sample ``i`` is at ``start_s + i / 16000``. Samples of
    float formats that are NaN or infinite become 0, and a note counts them.

    Args:
        path: the recording.
        start_s: start in seconds; before 0 it is moved to 0, as for pictures, and a note says so.
        end_s: end, excluded; None is the stream's end.
        channel: this one alone, counted from 0; None is the mean of all.

    Returns:
        `Audio`; empty, with a note, when the stream has no sound in the stretch.

    Raises:
        MediaError: when the file cannot be opened, has no sound stream or no such channel, the range is empty, or
            nothing in the whole stream can be decoded or is a number.
    """
    path = Path(path)
    start, end, range_notes = checked_range(path, start_s, end_s)
    notes = list(range_notes)
    with open_media(path) as container:
        stream = choose_audio(container)
        if stream is None:
            raise MediaError(
                _why_no_audio(container), item=path, remedy="Give a recording with sound, or use its pictures only."
            )
        if channel is not None and not 0 <= channel < stream.channels:
            raise MediaError(
                f"{name_of(stream)} has {stream.channels} channels, counted from 0; there is no channel {channel}",
                item=path,
                remedy="Give another channel, or none for the mean of all.",
            )
        reader = _Reader(container, stream, start, end, notes, channel)
        chunks = list(reader.chunks())
        samples = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
        if not reader.decoded_any and start == 0.0:
            raise MediaError(
                f"{name_of(stream)} holds no sound that can be decoded",
                item=path,
                remedy="The stream is empty, cut off or damaged: copy the file again, or use its pictures only.",
            )
        if reader.n_bad and reader.n_bad == reader.n_seen:
            raise MediaError(
                f"every sample of {name_of(stream)} is NaN or infinite", item=path, remedy="Write the file again."
            )
        if reader.n_bad:
            notes.append(f"{reader.n_bad} of {reader.n_seen} samples were NaN, infinite or absurdly loud: set to 0")
        if samples.size == 0:
            notes.append(
                f"{name_of(stream)} has no sound from {start:g} s" + ("" if end_s is None else f" to {end_s:g} s")
            )
    return Audio(samples, SAMPLE_RATE_HZ, tuple(notes))


def _why_no_audio(container: InputContainer) -> str:
    if len(container.streams.audio):
        return f"its audio stream {container.streams.audio[0].index} has a codec that cannot be decoded"
    return "has no sound"


class _Reader:
    """One audio stream from ``start_s`` to ``end_s`` as 16 kHz mono chunks without holes."""

    def __init__(
        self,
        container: InputContainer,
        stream: AudioStream,
        start_s: float,
        end_s: float,
        notes: list[str],
        channel: int | None,
    ) -> None:
        self.container, self.stream, self.notes, self.channel = container, stream, notes, channel
        self.start_s, self.end_s = start_s, end_s
        self.origin_s = origin_s(container)
        self.decoded_any = False
        self.n_bad = self.n_seen = 0
        self._shift_s = self._late_s = clock_shift_s(container, stream, notes)  # added to timestamps
        self._packers: dict[tuple[str, str, int], av.AudioResampler] = {}
        self._read_to_s = 0.0
        self._gaps_s = 0.0

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Resampled pieces in order; together they start at ``start_s``."""
        rate, resampler = 0, None
        for mono, frame_rate in self._placed():
            if frame_rate != rate:
                if resampler is not None:
                    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
                rate = frame_rate
                resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
            assert resampler is not None
            yield mono if rate == SAMPLE_RATE_HZ else resampler.resample_chunk(mono)
        if resampler is not None and rate != SAMPLE_RATE_HZ:
            yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        self._report()

    def _placed(self) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Mono pieces at their own rate, placed by timestamp: holes filled, overlaps and what is outside cut off."""
        cursor_s = self.start_s
        for frame, frame_s in self._timed():
            rate = frame.sample_rate
            mono = self._mono(frame)
            lead = round((frame_s - cursor_s) * rate)
            if lead > 0 and (lead > _JITTER_S * rate or not self.decoded_any):
                lead = min(lead, max(0, round((self.end_s - cursor_s) * rate)) if np.isfinite(self.end_s) else lead)
                if self.decoded_any:
                    self._gaps_s += lead / rate
                yield np.zeros(lead, np.float32), rate
                cursor_s += lead / rate
            elif lead < 0 and (-lead > _JITTER_S * rate or cursor_s == self.start_s):
                mono = mono[-lead:]
            self.decoded_any = True
            if np.isfinite(self.end_s):
                mono = mono[: max(0, round((self.end_s - cursor_s) * rate))]
            if mono.size:
                yield mono, rate
                cursor_s += mono.size / rate
            self._read_to_s = frame_s + frame.samples / rate
            if cursor_s >= self.end_s - 0.5 / rate:
                return

    def _mono(self, frame: av.AudioFrame) -> NDArray[np.float32]:
        """One frame as ``(samples,)`` at full scale 1.0."""
        frame = self._packed(frame)
        array = frame.to_ndarray()
        if not frame.format.is_planar:
            array = array.reshape(-1, frame.layout.nb_channels).T
        if self.channel is not None:
            array = array[min(self.channel, len(array) - 1)][None]  # a stream may go on with fewer channels
        mono: NDArray[np.float32] = _as_float(array).mean(axis=0, dtype=np.float32)
        with np.errstate(invalid="ignore"):
            fine = np.abs(mono) <= _LOUDEST
        self.n_seen += mono.size
        if not fine.all():
            self.n_bad += int(mono.size - np.count_nonzero(fine))
            mono = np.where(fine, mono, np.float32(0))
        return mono

    def _packed(self, frame: av.AudioFrame) -> av.AudioFrame:
        """The frame itself, or its channels interleaved where PyAV cannot read planes: it reads past the eighth."""
        if not frame.format.is_planar or frame.layout.nb_channels < _MOST_PLANES:
            return frame
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind not in self._packers:
            self._packers[kind] = av.AudioResampler("flt", frame.layout, frame.sample_rate)
        (packed,) = self._packers[kind].resample(frame)
        return packed

    def _timed(self) -> Iterator[tuple[av.AudioFrame, float]]:
        """Frames with their start in seconds from the recording's start; a clock that jumps is put right."""
        if self.start_s > _SEEK_FROM_S:
            self._seek(self.start_s - _PREROLL_S)
        expected_s: float | None = None
        for frame in self._decoded():
            if frame.pts is not None and frame.time_base:
                frame_s = float(frame.pts * frame.time_base) - self.origin_s + self._shift_s
            else:
                frame_s = expected_s if expected_s is not None else 0.0
            if expected_s is not None and not -1.0 < frame_s - expected_s < LONGEST_GAP_S:
                self._shift_s += expected_s - frame_s
                self.notes.append(jump_note(self.stream, expected_s))
                frame_s = expected_s
            expected_s = frame_s + frame.samples / frame.sample_rate
            yield frame, frame_s

    def _seek(self, to_s: float) -> None:
        try:
            self.container.seek(int((self.origin_s - self._late_s + to_s) * av.time_base), backward=True)
        except av.FFmpegError:
            return  # not seekable: everything before the start is decoded and cut off
        self.stream.codec_context.flush_buffers()

    def _decoded(self) -> Iterator[av.AudioFrame]:
        bad = 0
        packets = self.container.demux(self.stream)
        while bad <= _MOST_BAD_PACKETS:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.notes.append(f"truncated: {name_of(self.stream)} cannot be read further ({error.strerror})")
                break
            if packet is None:
                break
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                bad += 1
                continue
            for frame in decoded:
                assert isinstance(frame, av.AudioFrame)
                if frame.samples > 0 and frame.sample_rate > 0:
                    yield frame
        if bad:
            self.notes.append(f"{name_of(self.stream)}: {counted(bad, 'damaged packet')} {was(bad)} left out")

    def _report(self) -> None:
        if self._gaps_s >= _GAP_TO_REPORT_S:
            self.notes.append(f"{name_of(self.stream)}: gaps of {self._gaps_s:.2f} s in all were filled with silence")
        length = duration_s(self.container, self.stream)
        if length is None or not self.stream.time_base or not self.decoded_any:
            return
        until = float((self.stream.start_time or 0) * self.stream.time_base) - self.origin_s + self._late_s + length
        if self._read_to_s < min(until, self.end_s) - _MISSING_TAIL_S:
            self.notes.append(
                f"truncated: {name_of(self.stream)} can be read to {self._read_to_s:.2f} s of {until:.2f} s"
            )
