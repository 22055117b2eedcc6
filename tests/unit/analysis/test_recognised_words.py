"""A model that spells gives itself the words that nobody gave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import maeum
from maeum.analysis.recognizer import Recognizer
from maeum.analysis.writers.html_report import render_html
from maeum.models.mmer import MMER

RATE = 16_000
TEXTS = [f"kids are talking by the door {word}" for word in ("yes", "no", "now", "then")] * 4


def voice(seconds: float = 1.5) -> np.ndarray:
    """Something that passes for a voice: a buzz with formants, in syllables."""
    t = np.arange(round(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 25))
    return (0.2 * buzz * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))).astype(np.float32)


@pytest.fixture(params=["mel_chunks", "wave"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, make_spelling_mmer: Callable[..., Path]) -> Path:
    """MMER that hears an A in every sound."""
    small = {"kind": "small", "widths": [4, 6], "dim": 16, "feedforward": 16}
    hub = {
        "kind": "hub",
        "architecture": {
            "model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "conv_dim": [8, 8], "conv_kernel": [10, 8], "conv_stride": [10, 16],
            "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
        },
    }  # fmt: skip
    speech = small if request.param == "mel_chunks" else hub
    return make_spelling_mmer(tmp_path, ("anger", "happiness", "sadness"), speech, TEXTS, request.param)


def test_a_voice_without_words_gets_the_words_that_the_model_hears(folder: Path) -> None:
    recognizer = maeum.load(folder)
    prediction = recognizer.predict(audio=voice(), sample_rate_hz=RATE)
    assert prediction.answered
    assert any('recognised "a"' in note for note in prediction.notes)
    given = recognizer.predict(audio=voice(), sample_rate_hz=RATE, text="kids are talking")
    assert not any("recognised" in note for note in given.notes)
    assert given.probs != prediction.probs
    spoken = recognizer.predict(audio=voice(), sample_rate_hz=RATE, text="a")
    assert spoken.probs == pytest.approx(prediction.probs)


def test_a_timeline_shows_them_and_says_where_they_are_from(folder: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "speech.wav", voice(2.0), RATE)
    timeline = maeum.load(folder).analyse(tmp_path / "speech.wav")
    answered = [s for s in timeline.segments if s.prediction.answered]
    assert answered
    for segment in answered:
        assert segment.text == "a"
        assert any("no words were given; this model recognised" in note for note in segment.prediction.notes)
    page = render_html(timeline)
    assert "together" in page
    assert "recognised" in page


def test_where_nothing_is_recognised_it_says_so(folder: Path) -> None:
    recognizer = maeum.load(folder)
    silent = recognizer.pretrained.model
    assert isinstance(silent, MMER)
    assert silent.ctc_head is not None
    silent.ctc_head.bias.data = torch.tensor([5.0, 0.0, 0.0, 0.0])
    prediction = Recognizer(recognizer.pretrained).predict(audio=voice(), sample_rate_hz=RATE)
    assert prediction.answered
    assert any("recognised none" in note for note in prediction.notes)
