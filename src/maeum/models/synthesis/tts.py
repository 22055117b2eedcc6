"""Text-to-speech in the voice of another recording: zero-shot, speaker-conditioned."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from maeum.config import Config
from maeum.errors import ModelError
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.models.encoders.hub import fetch


class TTS(Protocol):
    """Text-to-speech: anything that says a text in another person's voice, or in a voice of its own."""

    def own_voice(self, seed: int) -> str | None:
        """The name of the voice of its own in which it speaks with a seed; None where it imitates the reference."""
        ...

    def speak(self, text: str, reference: Tensor, seed: int) -> Tensor:
        """Say a text.

        Args:
            text: the words.
            reference: how that person sounds, ``(samples,)`` float32 at 16 kHz; empty where it has voices of its own.
            seed: of what is drawn.

        Returns:
            ``(samples,)`` float32 at 16 kHz.
        """
        ...


class SpeechT5Config(Config):
    """SpeechT5 (Ao et al., ACL 2022) with a vocoder, and a network that tells speakers apart."""

    kind: Literal["speecht5"] = "speecht5"
    """Which text-to-speech: this one."""
    model: str = "microsoft/speecht5_tts"
    """The text-to-speech model: a name on the hub, or a folder."""
    vocoder: str = "microsoft/speecht5_hifigan"
    """Its HiFi-GAN: a name on the hub, or a folder."""
    speaker: str = "microsoft/wavlm-base-plus-sv"
    """A speaker verification model with x-vectors (WavLM, wav2vec2) as wide as ``model`` reads them: a name on the hub,
    or a folder."""


class SpeechT5TTS:
    """SpeechT5 in the voice that an x-vector describes.

    Raises:
        ModelError: when a model cannot be had, or the parts do not fit together.
    """

    def __init__(self, config: SpeechT5Config, device: str = "cpu") -> None:
        from transformers import (  # takes a second
            AutoFeatureExtractor,
            AutoModelForAudioXVector,
            AutoTokenizer,
            SpeechT5ForTextToSpeech,
            SpeechT5HifiGan,
        )

        def of(kind: Any, name: str, what: str) -> Any:
            return fetch(name, what, lambda local: kind.from_pretrained(name, local_files_only=local))

        self._tokenizer = of(AutoTokenizer, config.model, "tokenizer of a text-to-speech model")
        self._model = of(SpeechT5ForTextToSpeech, config.model, "text-to-speech model").to(device).eval()
        self._vocoder = of(SpeechT5HifiGan, config.vocoder, "vocoder").to(device).eval()
        self._extractor = of(AutoFeatureExtractor, config.speaker, "preprocessor of a speaker model")
        self._speaker = of(AutoModelForAudioXVector, config.speaker, "speaker model").to(device).eval()
        self._device = device
        rate, wanted = self._vocoder.config.sampling_rate, self._model.config.speaker_embedding_dim
        made = self._speaker.config.xvector_output_dim
        if rate != SAMPLE_RATE_HZ:
            raise ModelError(f"gives {rate} Hz, not {SAMPLE_RATE_HZ}", item=config.vocoder)
        if made != wanted:
            raise ModelError(f"gives x-vectors of {made} values, {config.model} takes {wanted}", item=config.speaker)

    def own_voice(self, seed: int) -> None:
        """See `TTS`: it has none."""

    @torch.inference_mode()
    def speak(self, text: str, reference: Tensor, seed: int) -> Tensor:
        """See `TTS`."""
        state = torch.get_rng_state()
        torch.manual_seed(seed)  # SpeechT5's decoder keeps dropout on
        try:
            given = self._extractor(reference.numpy(), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt").to(
                self._device
            )
            speaker = torch.nn.functional.normalize(self._speaker(**given).embeddings, dim=-1)
            tokens = self._tokenizer(text, return_tensors="pt").input_ids.to(self._device)
            if tokens.shape[1] > (most := self._model.config.max_text_positions):
                raise ValueError(f"{tokens.shape[1]} tokens, it reads {most}")
            wave: Tensor = self._model.generate_speech(tokens, speaker, vocoder=self._vocoder)
        finally:
            torch.set_rng_state(state)
        return wave.float().cpu().reshape(-1).clamp(-1, 1)
