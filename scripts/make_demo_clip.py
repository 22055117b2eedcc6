"""Make the demo clip: a photograph that moves, and a synthesised voice.

The picture is Eileen Collins's portrait, NASA, public domain, as it ships in scikit-image. The voice is espeak-ng's
(Debian package ``espeak-ng``). Run ``python scripts/make_demo_clip.py examples``; it needs the ``dev`` extra.
"""

from __future__ import annotations

import io
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut

WIDTH_PX, HEIGHT_PX, FPS, RATE_HZ = 640, 480, 25, 44_100
#: What is said, espeak's pitch (0..99) and speed (words a minute), and the pause after it in seconds.
LINES = (
    ("What a wonderful day! I am so happy to be here with all of you!", 62, 165, 0.9),
    ("I was a little afraid before the launch, I must admit.", 40, 150, 0.9),
    ("And then we saw the whole Earth. Thank you, I love this!", 60, 160, 0.8),
)
LEAD_S = 0.4


def speak(text: str, pitch: int, words_per_minute: int) -> NDArray[np.float32]:
    """The text as sound, ``(n,)`` at RATE_HZ."""
    command = ["espeak-ng", "-v", "en-us+f3", "-p", str(pitch), "-s", str(words_per_minute), "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    samples, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    return soxr.resample(samples, rate, RATE_HZ)


def voice() -> tuple[NDArray[np.float32], list[tuple[float, float, str]]]:
    """The whole sound track, and who says what when: (start_s, end_s, text)."""
    parts, lines, now = [np.zeros(round(LEAD_S * RATE_HZ), np.float32)], [], LEAD_S
    for text, pitch, speed, pause_s in LINES:
        spoken = speak(text, pitch, speed)
        loud = np.flatnonzero(np.abs(spoken) > 0.01)
        spoken = spoken[: loud[-1] + RATE_HZ // 10]
        lines.append((now, now + spoken.size / RATE_HZ, text))
        parts += [spoken, np.zeros(round(pause_s * RATE_HZ), np.float32)]
        now += spoken.size / RATE_HZ + pause_s
    samples = np.concatenate(parts)
    return samples / np.abs(samples).max() * 0.7, lines


def frame(photograph: Image.Image, share: float) -> Image.Image:
    """The picture at a moment, 0..1: the camera comes closer and drifts."""
    width = 512 - 150 * (0.5 - 0.5 * math.cos(math.pi * share))
    height = width * HEIGHT_PX / WIDTH_PX
    left = (512 - width) * (0.45 + 0.1 * math.sin(2 * math.pi * share))
    top = 12 * share
    return photograph.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC, (left, top, left + width, top + height))


def stamp(seconds: float) -> str:
    """A time as subtitles write it."""
    total = round(seconds * 1000)
    return f"{total // 3_600_000:02d}:{total // 60_000 % 60:02d}:{total // 1000 % 60:02d},{total % 1000:03d}"


def main(folder: Path) -> None:
    samples, lines = voice()
    duration_s = samples.size / RATE_HZ
    photograph = Image.fromarray(astronaut())
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(folder / "demo.mp4"), "w") as file:
        video = file.add_stream("h264", rate=FPS, options={"crf": "23", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        audio = file.add_stream("aac", rate=RATE_HZ, layout="mono")
        audio.bit_rate = 64_000
        count = math.ceil(duration_s * FPS)
        for i in range(count):
            picture = av.VideoFrame.from_image(frame(photograph, i / count))
            picture.pts, picture.time_base = i, Fraction(1, FPS)
            file.mux(video.encode(picture))
        file.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        file.mux(audio.encode(sound))
        file.mux(audio.encode(None))
    cues = [f"{i}\n{stamp(a)} --> {stamp(b)}\n{text}\n" for i, (a, b, text) in enumerate(lines, start=1)]
    (folder / "demo.srt").write_text("\n".join(cues), encoding="utf-8")
    print(f"{folder / 'demo.mp4'}: {duration_s:.1f} s, {(folder / 'demo.mp4').stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "examples"))
