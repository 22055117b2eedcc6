"""What a media file holds, from its header."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from maeum.errors import MediaError
from maeum.media.container import (
    choose_audio,
    choose_video,
    duration_s,
    open_media,
    origin_s,
    video_streams,
)
from maeum.media.geometry import quarter_turns, square_size

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MediaInfo:
    """What a file holds. None where a stream is absent or the header does not say.

    duration_s: of the whole file; when the header does not say it, it is measured by reading the packets.
    width_px, height_px: of the chosen picture stream as shown: upright, square pixels. fps: average frames per second.
    video_start_s, audio_start_s: where the streams start, counted from the file's start.
    """

    path: Path
    duration_s: float | None
    has_video: bool
    has_audio: bool
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    n_video_streams: int = 0
    n_audio_streams: int = 0
    container: str = ""
    video_codec: str | None = None
    audio_codec: str | None = None
    video_start_s: float | None = None
    audio_start_s: float | None = None


def probe(path: Path | str) -> MediaInfo:
    """Look at a file without decoding more than its first frame.

    Raises:
        MediaError: when it cannot be opened, or holds neither pictures nor sound that can be decoded.
    """
    path = Path(path)
    with open_media(path) as container:
        video, audio = choose_video(container), choose_audio(container)
        if video is None and audio is None:
            raise MediaError(
                f"holds neither moving pictures nor sound that can be decoded (format {container.format.name})",
                item=path,
                remedy="Give a recording with a video or an audio stream, or convert it with ffmpeg.",
            )
        origin = origin_s(container)
        width = height = None
        if video is not None:
            width, height = _shown_size(container, video)
        return MediaInfo(
            path=path,
            duration_s=duration_s(container) or _measured_s(container, origin),
            has_video=video is not None,
            has_audio=audio is not None,
            width_px=width,
            height_px=height,
            fps=float(video.average_rate) if video is not None and video.average_rate else None,
            sample_rate_hz=audio.sample_rate if audio is not None else None,
            channels=audio.channels if audio is not None else None,
            n_video_streams=len(video_streams(container)),
            n_audio_streams=len(container.streams.audio),
            container=container.format.name,
            video_codec=video.codec_context.name if video is not None else None,
            audio_codec=audio.codec_context.name if audio is not None else None,
            video_start_s=_start_s(video, origin),
            audio_start_s=_start_s(audio, origin),
        )


def _start_s(stream: VideoStream | AudioStream | None, origin: float) -> float | None:
    if stream is None or stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base) - origin


def _shown_size(container: InputContainer, video: VideoStream) -> tuple[int, int]:
    """Width and height as shown; the turn stands with the first frame."""
    width, height = square_size(video.width, video.height, video.sample_aspect_ratio)
    try:
        first = next(iter(container.decode(video)), None)
    except av.FFmpegError as error:
        _log.debug("%s: no first frame: %s", container.name, error)
        return width, height
    return (height, width) if first is not None and quarter_turns(first)[0] % 2 else (width, height)


def _measured_s(container: InputContainer, origin: float) -> float | None:
    """Where the last packet ends; for files whose header does not state a length."""
    end = origin
    try:
        for packet in container.demux():
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except av.FFmpegError as error:
        _log.debug("%s: packets end early: %s", container.name, error)
    return end - origin if end > origin else None
