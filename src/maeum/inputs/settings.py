"""How media become tensors: one set of settings for preparing corpora, training and use."""

from __future__ import annotations

from pydantic import Field

from maeum.config import Config
from maeum.types import Sound


class ClipSettings(Config):
    """How the frames and the sound of an utterance become a `Clip`, in a store and in a model's use alike.

    A model is trained and scored on stores that were made with its own values (`maeum.runs.checks.check_inputs`).
    """

    frame_every_s: float = Field(default=0.5, ge=0.005, le=3600)
    """Seconds between the frames in which faces are looked for. Dai et al. (2021) take one every 0.5 s."""
    trim_silence: bool = False
    """Keep only the sound from the first to the last voice activity, where there is any."""


class InputSettings(ClipSettings):
    """What a network reads of a `Clip`: written in a recipe's ``inputs`` and beside the model that it trains."""

    sound: Sound = "mel_chunks"
    """What is read of speech: log-mel chunks of 400 ms, or the 16 kHz wave."""
    max_frames: int = Field(default=64, ge=1, le=4096)
    """Most face frames of an utterance; more are thinned out evenly over time."""
    max_mel_chunks: int = Field(default=64, ge=1, le=65_536)
    """Most mel chunks of an utterance, and as much of a wave; of longer speech the middle is read."""
    max_tokens: int = Field(default=100, ge=1, le=65_536)
    """Most tokens of an utterance; of longer texts the beginning and the end token are read."""
