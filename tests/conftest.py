"""Fixtures that every test may use: real data where it is at hand, small media made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maeum.models.weights import is_fetched, weights_cache

torch.set_num_threads(1)

#: Where fetched weights lie on this machine; workers of pytest are told by the process that starts them. Tests see none
#: of them but through the fixture `fetched`.
FETCHED = Path(os.environ.setdefault("MAEUM_TESTS_FETCHED", str(weights_cache("").absolute())))
os.environ["MAEUM_WEIGHTS"] = str(FETCHED / "none-for-tests")

pytest_plugins = ["margins", "miniatures"]

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``fetched("whisper-base")``: the folder of fetched weights; the test is skipped where they were not fetched."""

    def find(name: str) -> Path:
        monkeypatch.setenv("MAEUM_WEIGHTS", str(FETCHED))
        if not is_fetched(name):
            pytest.skip(f"needs `maeum fetch {name}`")
        return FETCHED / name

    return find


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; the test is skipped where it is not there."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real data in {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    """A photograph with one face, (512, 512, 3): NASA, public domain, from scikit-image."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's picture")
    picture: NDArray[np.uint8] = data.astronaut()
    return picture


def grey_frames(levels: Sequence[int], width: int = 32, height: int = 24) -> list[NDArray[np.uint8]]:
    """Plain frames; frame i has grey level ``levels[i]``, by which a test knows it again."""
    return [np.full((height, width, 3), level, np.uint8) for level in levels]


def sine(hz: float, length_s: float, rate_hz: int, amplitude: float = 0.5) -> NDArray[np.float32]:
    """A sine, (n,) float32."""
    t = np.arange(round(length_s * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def write_media(
    path: Path,
    frames: Sequence[NDArray[np.uint8]] = (),
    *,
    times_ms: Sequence[int] | None = None,
    fps: int = 10,
    codec: str = "ffv1",
    pix_fmt: str = "bgr0",
    aspect: Fraction | None = None,
    rotation: int | None = None,
    sound: NDArray[np.float32] | None = None,
    rate_hz: int = 16_000,
    audio_codec: str = "pcm_s16le",
    audio_format: str = "s16",
    layout: str = "mono",
    sound_start_ms: int = 0,
    container_format: str | None = None,
) -> Path:
    """Write a small recording; Matroska with lossless pictures unless asked otherwise.

    Frames are shown at ``times_ms``, or ``fps`` times a second. ``sound`` is (channels, n), full scale 1.0.
    """
    with av.open(str(path), "w", format=container_format) as out:
        video: Any = None
        if len(frames):
            video = out.add_stream(codec, rate=fps)
            video.height, video.width = frames[0].shape[:2]
            video.pix_fmt = pix_fmt
            video.codec_context.time_base = Fraction(1, 1000)
            if aspect is not None:
                video.codec_context.sample_aspect_ratio = aspect
            if rotation is not None:
                video.set_display_rotation(rotation)
        audio: Any = None
        if sound is not None:
            audio = out.add_stream(audio_codec, rate=rate_hz, layout=layout)
        times = times_ms if times_ms is not None else [round(1000 * i / fps) for i in range(len(frames))]
        for time_ms, pixels in zip(times, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            out.mux(video.encode(frame))
        if video is not None:
            out.mux(video.encode(None))
        if audio is not None:
            _write_sound(out, audio, np.atleast_2d(sound), rate_hz, audio_format, layout, sound_start_ms)
    return path


def _write_sound(
    out: Any, stream: Any, sound: NDArray[Any], rate_hz: int, audio_format: str, layout: str, start_ms: int
) -> None:
    size = stream.codec_context.frame_size or 1024
    for start in range(0, sound.shape[1], size):
        mel_chunk = sound[:, start : start + size]
        if audio_format.startswith("s16"):
            mel_chunk = (mel_chunk * 32767).round().astype(np.int16)
        elif audio_format.startswith("s32"):
            mel_chunk = (mel_chunk.astype(np.float64) * 2147483647).round().astype(np.int32)
        elif audio_format.startswith("u8"):
            mel_chunk = (mel_chunk * 127 + 128).round().astype(np.uint8)
        packed = mel_chunk if audio_format.endswith("p") else mel_chunk.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format=audio_format, layout=layout)
        frame.sample_rate, frame.time_base = rate_hz, Fraction(1, rate_hz)
        frame.pts = start + start_ms * rate_hz // 1000
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


@pytest.fixture(scope="session")
def make_media() -> Callable[..., Path]:
    """`write_media`, for tests that want a small recording."""
    return write_media


@pytest.fixture(scope="session")
def make_grey_frames() -> Callable[..., list[NDArray[np.uint8]]]:
    """`grey_frames`."""
    return grey_frames


@pytest.fixture(scope="session")
def make_sine() -> Callable[..., NDArray[np.float32]]:
    """`sine`."""
    return sine


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the real layout and random weights; answers in a moment, and knows nothing."""
    from maeum.labels import EKMAN
    from maeum.models.card import ModelCard, Score
    from maeum.models.encoders.text import SmallTextConfig
    from maeum.models.encoders.tokenizer import train_tokenizer
    from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
    from maeum.models.pretrained import save_pretrained

    tokenizer = train_tokenizer(["what a lovely surprise", "i am so sad about this", "leave me alone"] * 4, 48)
    branch = BranchConfig(
        widths=(4, 4, 8, 8), hidden=16, transformer=TransformerConfig(layers=1, heads=2, feedforward=16)
    )
    text = SmallTextConfig(vocabulary=tokenizer.vocabulary_size, width=8, channels=8, dim=8)
    torch.manual_seed(7)
    model = FE2E(FE2EConfig(labels=len(EKMAN), dim=8, faces=branch, speech=branch, text=text)).eval()
    with torch.no_grad():
        for head in model.heads.values():
            head.weight.mul_(8)  # type: ignore[operator, union-attr]
    card = ModelCard(
        name="small-random", title="Random weights", licence="CC BY-NC-SA 4.0", non_commercial=True,
        parameters=sum(p.numel() for p in model.parameters()), data=("nothing",), labels=EKMAN.names,
        modalities=model.modalities,
        scores=(Score(name="UAR", data="nothing", value=0.143, low=0.1, high=0.2, items=9),),
        intended_use="tests", limits="knows nothing",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("models") / "small"
    save_pretrained(folder, kind="fe2e", model=model, label_set=EKMAN, card=card, tokenizer=tokenizer)
    return folder
