"""Real speech, recognised by the real weights where they were fetched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from maeum.asr import speech_recognizer
from maeum.cli.app import app
from maeum.media.activity import speech_regions
from maeum.media.text import read_transcript
from maeum.models.encoders.character_vocabulary import units

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RATE = 16_000


def spelt(text: str) -> list[str]:
    return "".join(units(text)).split()


def test_the_words_of_the_demo_are_recognised(fetched: Callable[[str], Path], tmp_path: Path) -> None:
    """It is read by a synthetic voice: about one word of seven is wrong, whatever the processor."""
    jiwer = pytest.importorskip("jiwer")
    fetched("whisper-base")
    result = CliRunner().invoke(
        app, ["analyse", str(EXAMPLES / "demo.mp4"), "--out", str(tmp_path), "--format", "json"]
    )
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "demo.json").read_text())
    assert (data["recognizer"], data["language"]) == ("whisper-base", "en")
    words = [word for segment in data["segments"] for word in segment["words"]]
    known = read_transcript(EXAMPLES / "demo.srt")
    reference, heard = (spelt(" ".join(part)) for part in ([line.text for line in known], [w["text"] for w in words]))
    assert jiwer.wer(" ".join(reference), " ".join(heard)) < 0.35
    assert [w["start_s"] for w in words] == sorted(w["start_s"] for w in words)
    for line in known:  # every line is heard when it is spoken
        assert line.start_s is not None
        assert line.end_s is not None
        within = [w for w in words if line.start_s - 0.5 < (w["start_s"] + w["end_s"]) / 2 < line.end_s + 0.5]
        assert len(within) >= 0.6 * len(line.text.split())


def made_up(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(5 * RATE) / RATE
    noise = 0.1 * rng.normal(size=len(t))
    sounds = {
        "silence": 0 * t,
        "noise": noise,
        "beeps": 0.3 * np.sin(2 * np.pi * 880 * t) * (t % 0.7 < 0.2),
        "breath": noise * np.maximum(0, np.sin(2 * np.pi * t / 1.7)) ** 2,
        "chords": 0.1 * sum(np.sin(2 * np.pi * f * 2 ** (rng.integers(0, 5) / 12) * t) for f in (220, 277, 330))
        * (1 + np.sin(4 * np.pi * t)),
    }  # fmt: skip
    return sounds[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["silence", "noise", "beeps", "breath", "chords"])
def test_no_words_where_nobody_speaks(fetched: Callable[[str], Path], kind: str) -> None:
    fetched("whisper-base")
    recognizer = speech_recognizer("whisper-base")
    for seed in range(2):
        wave = made_up(kind, seed)
        found = recognizer.recognize(wave, speech_regions(torch.from_numpy(wave)))
        assert found.words == (), " ".join(word.text for word in found.words)
