"""The encoder of Whisper (Radford et al. 2023) as a speech encoder: a vector of every 20 ms, of every layer.

Whisper was trained on windows of 30 s, filled up with silence. Here an utterance is read as long as it is: the same
log-mel, convolutions, positions and layers, but nothing behind its end, so that two seconds cost a fifteenth.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maeum.errors import ModelError
from maeum.media.shapes import SAMPLE_RATE_HZ
from maeum.models.encoders.ctranslate2 import read_whisper
from maeum.models.encoders.hub import architecture, fetch, place, whole
from maeum.models.encoders.whisper_layers import WhisperArchitecture, WhisperLayers, slaney_filters

#: Whisper's short-time Fourier transform: 25 ms every 10 ms.
N_FFT, HOP = 400, 160
#: Bins more than this below an utterance's loudest are its floor, in powers of ten.
_RANGE = 8.0
#: The file that CTranslate2 writes.
CTRANSLATE2_FILE = "model.bin"


@cache
def _filters(bands: int) -> Tensor:
    """Slaney's mel filters, ``(bands, 201)``."""
    return slaney_filters(bands, 1 + N_FFT // 2)


def log_mel(wave: Tensor, lengths: Tensor, bands: int) -> tuple[Tensor, Tensor]:
    """Whisper's log-mel of utterances, each by itself.

    Args:
        wave: ``(batch, samples)`` at 16 kHz.
        lengths: samples of each utterance, ``(batch,)``.
        bands: mel bands, 80 for most models.

    Returns:
        ``(batch, bands, frames)``, zero behind each utterance's end, and its frames of 10 ms, ``(batch,)``.
    """
    samples = torch.arange(wave.shape[1], device=wave.device) < lengths.unsqueeze(1)
    wave = wave.float() * samples
    frames = (lengths + HOP - 1).div(HOP, rounding_mode="floor")
    start = wave[:, 1 : 1 + N_FFT // 2].flip(1)
    start = F.pad(start, (N_FFT // 2 - start.shape[1], 0))
    padded = torch.cat((start, wave, wave.new_zeros(len(wave), N_FFT)), 1)
    window = torch.hann_window(N_FFT, device=wave.device)
    power = torch.stft(padded, N_FFT, HOP, window=window, center=False, return_complex=True).abs().square()
    mel = (_filters(bands).to(wave.device) @ power).clamp(min=1e-10).log10()
    mel = mel[:, :, : max(1, int(frames.max()))]
    valid = (torch.arange(mel.shape[2], device=wave.device) < frames.unsqueeze(1)).unsqueeze(1)
    loudest = mel.masked_fill(~valid, -torch.inf).amax((1, 2), keepdim=True)
    loudest = torch.where(loudest.isfinite(), loudest, 0.0)
    return ((torch.maximum(mel, loudest - _RANGE) + 4.0) / 4.0) * valid, frames


def hide_stretches(mel: Tensor, frames: Tensor, longest_time: int, longest_bands: int) -> Tensor:
    """Log-mel with two stretches of time and two of bands set to 0, the mean (SpecAugment: Park et al. 2019).

    Args:
        mel: ``(batch, bands, frames)``.
        frames: valid ones, ``(batch,)``.
        longest_time: in frames, and at most a fifth of the utterance; 0 hides none.
        longest_bands: in bands; 0 hides none.
    """
    rows = len(mel)
    for _ in range(2):
        for size, axis, most in (
            (frames, 2, (frames // 5).clamp(max=longest_time)),
            (torch.full_like(frames, mel.shape[1]), 1, torch.full_like(frames, longest_bands)),
        ):
            if int(most.max()) == 0:
                continue
            width = (torch.rand(rows, device=mel.device) * (most + 1)).long()
            start = (torch.rand(rows, device=mel.device) * (size - width + 1)).long()
            place = torch.arange(mel.shape[axis], device=mel.device)
            hidden = (place >= start.unsqueeze(1)) & (place < (start + width).unsqueeze(1))
            mel = mel.masked_fill(hidden.unsqueeze(3 - axis), 0.0)
    return mel


def is_whisper(name: str | None, given: dict[str, Any] | None) -> bool:
    """Whether a name, a folder or a configuration is a Whisper's; raises ModelError where a name cannot be had."""
    if name is None:
        return given is not None and given.get("model_type") == "whisper"
    where = place(name)
    if (Path(where) / CTRANSLATE2_FILE).is_file():
        return True
    from transformers import AutoConfig

    found = fetch(where, "speech encoder", lambda local: AutoConfig.from_pretrained(where, local_files_only=local))
    return bool(found.model_type == "whisper")


def encoder_states(model: Any, mel: Tensor, frames: Tensor) -> tuple[list[Tensor], Tensor]:
    """The vectors behind the convolutions of Whisper's encoder and behind every layer, before its final norm.

    Args:
        model: `transformers`' WhisperEncoder.
        mel: see `log_mel`, ``(batch, bands, frames)``.
        frames: valid ones, ``(batch,)``.

    Returns:
        ``layers + 1`` tensors ``(batch, steps, dim)``, zero where padded; and the valid steps, ``(batch, steps)``.
    """
    valid = torch.arange(mel.shape[2], device=mel.device) < frames.unsqueeze(1)
    hidden = F.gelu(model.conv1(mel)) * valid.unsqueeze(1)
    hidden = F.gelu(model.conv2(hidden)).transpose(1, 2)
    steps = hidden.shape[1]
    counts = (frames + 1).div(2, rounding_mode="floor")
    mask = torch.arange(steps, device=mel.device) < counts.unsqueeze(1)
    hidden = hidden + model.embed_positions.weight[:steps]
    return [hidden * mask.unsqueeze(2), *states_behind(model.layers, hidden, mask)], mask


def states_behind(layers: Iterable[nn.Module], hidden: Tensor, mask: Tensor) -> list[Tensor]:
    """The vectors behind each of some layers of Whisper's encoder.

    Args:
        layers: one after the other.
        hidden: what the first of them reads, ``(batch, steps, dim)``.
        mask: valid steps, ``(batch, steps)``.

    Returns:
        ``(batch, steps, dim)`` each, zero where padded.
    """
    readable = mask.clone()
    readable[:, 0] = True  # attention over nothing is undefined
    attention = readable[:, None, None, :] if not bool(readable.all()) else None
    found = []
    for layer in layers:
        hidden = layer(hidden, attention)
        found.append(hidden * mask.unsqueeze(2))
    return found


class WhisperEncoder(nn.Module):
    """Whisper's encoder without its 30 s of padding; an utterance's vectors depend on it alone.

    Args:
        pretrained: name of fetched weights (`maeum.models.weights`), a folder, or a name on the hub; or
        given: settings of `transformers.WhisperConfig`, for an encoder without weights.
        depth: so many of its layers; None takes all.
        mask_time_s: while training, hide two stretches of up to so many seconds.
        mask_bands: while training, hide two stretches of up to so many mel bands.

    Raises:
        ModelError: when it cannot be had, is no Whisper, or has fewer layers.
    """

    def __init__(
        self, pretrained: str | None, given: dict[str, Any] | None, depth: int | None = None, *,
        mask_time_s: float = 0.0, mask_bands: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.longest_masks = (round(mask_time_s * SAMPLE_RATE_HZ / HOP), mask_bands)
        if pretrained is None:
            assert given is not None
            settings, weights = given, None
        else:
            settings, weights = _pretrained(pretrained)
        described = WhisperArchitecture.of(settings)
        layers = described.encoder_layers
        if depth is not None and not 1 <= depth <= layers:
            raise ModelError(
                f"depth = {depth}, but this encoder has {layers} layers", item=pretrained or settings["model_type"]
            )
        self.settings = {**settings, "encoder_layers": depth or layers}
        self.model = WhisperLayers(WhisperArchitecture.of(self.settings))
        self.dim, self.layers, self.bands = described.d_model, depth or layers, described.num_mel_bins
        self.longest = described.max_source_positions
        if weights is not None:
            prefix = "model.encoder."
            own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
            known = self.model.state_dict()
            missing = sorted(known.keys() - own.keys())
            if missing:
                raise ModelError(f"lacks weights, such as {missing[0]}", item=pretrained)
            self.model.load_state_dict({name: own[name] for name in known})
        self.model.embed_positions.requires_grad_(False)

    def hidden_states(self, wave: Tensor, wave_mask: Tensor) -> tuple[list[Tensor], Tensor]:
        """The vectors behind the convolutions and behind every layer; see `encoder_states`.

        Args:
            wave: ``(batch, samples)`` at 16 kHz.
            wave_mask: which samples are valid, from the first on, ``(batch, samples)`` bool.

        Raises:
            ModelError: when an utterance is longer than the positions, 30 s.
        """
        lengths = wave_mask.sum(1)
        mel, frames = log_mel(wave, lengths, self.bands)
        if self.training:
            mel = hide_stretches(mel, frames, *self.longest_masks)
        if int(frames.max() + 1) // 2 > self.longest:
            raise ModelError(
                f"an utterance of {float(lengths.max()) / SAMPLE_RATE_HZ:.1f} s is longer than the "
                f"{2 * self.longest * HOP / SAMPLE_RATE_HZ:.0f} s that Whisper reads",
                remedy="Cut the corpus into shorter utterances, or train with inputs: {max_mel_chunks: 75}.",
            )
        return encoder_states(self.model, mel, frames)


def read_whisper_model(name: str) -> Any:
    """A whole Whisper, `transformers.WhisperForConditionalGeneration`, for recognition; raises ModelError."""
    from transformers import WhisperForConditionalGeneration

    settings, weights = _pretrained(name)
    config = architecture({**settings, "attn_implementation": "sdpa"}, "speech recogniser")
    with torch.device("meta"):  # numbers that would be drawn are replaced at once
        model = WhisperForConditionalGeneration(config)  # type: ignore[arg-type]
    model.load_state_dict(weights, assign=True)
    model.requires_grad_(False)
    return model


def _pretrained(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Settings and weights, from CTranslate2's file where there is one, else as transformers reads them."""
    where = place(name)
    if (Path(where) / CTRANSLATE2_FILE).is_file():
        return read_whisper(Path(where) / CTRANSLATE2_FILE)
    from transformers import AutoConfig, WhisperForConditionalGeneration

    def get(local: bool) -> nn.Module:
        found = AutoConfig.from_pretrained(where, local_files_only=local)
        if found.model_type != "whisper":
            raise ValueError(f"a {found.model_type}, no Whisper")
        read: Any = WhisperForConditionalGeneration.from_pretrained(
            where, config=found, local_files_only=local, dtype=torch.float32, output_loading_info=True
        )
        model: nn.Module = whole(read, where, "speech encoder")
        return model

    model: Any = fetch(where, "speech encoder", get)
    return model.config.to_dict(), model.state_dict()
