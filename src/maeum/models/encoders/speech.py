"""Speech encoders that give a vector of every few milliseconds: wav2vec2 and its kin, or a small one of our own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ModelError
from maeum.media.shapes import MEL_CHUNK_SHAPE
from maeum.models.encoders.hub import architecture, check_source, fetch, place, whole
from maeum.models.layers import PositionalEncoding
from maeum.models.maps import NATURAL_PER_DB
from maeum.types import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

#: Keeps the standardisation of silence finite, as transformers' feature extractor does.
_SILENCE = 1e-7


class SmallSpeechConfig(Config):
    """The small speech encoder, trained from nothing on the corpus at hand. It reads log-mel chunks."""

    kind: Literal["small"] = "small"
    """Which encoder: this one."""
    shrink: tuple[Literal[1, 2, 4], Literal[1, 2, 4]] = (2, 2)
    """So many mel bands and frames of 12.5 ms are averaged into one first."""
    widths: tuple[Annotated[int, Field(ge=1, le=16_384)], ...] = Field(
        default=(24, 48, 64, 96), min_length=1, max_length=5
    )
    """Channels of its convolutions, each of which halves the bands."""
    dim: int = Field(default=96, ge=1, le=16_384)
    """Width of a frame's vector."""
    layers: int = Field(default=2, ge=1, le=256)
    """Layers of the transformer over the vectors."""
    heads: int = Field(default=4, ge=1, le=256)
    """Attention heads of the transformer; ``dim`` is even in each of them."""
    feedforward: int = Field(default=192, ge=1, le=65_536)
    """Width of the transformer's feed-forward layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the vectors while training, not of the attention's weights."""
    range_db: float = Field(default=50.0, gt=0, le=200)
    """Log-mel further than this below an utterance's loudest bin is floor, in dB."""
    mask_time: int = Field(default=6, ge=0, le=10_000)
    """The longest stretch of averaged frames that is hidden while training (SpecAugment: Park et al. 2019); there are
    two in every utterance."""
    mask_bands: int = Field(default=8, ge=0, le=128)
    """The longest stretch of averaged mel bands that is hidden while training; there are two in every utterance."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.dim % (2 * self.heads):
            raise ValueError(f"dim {self.dim} is not even in each of {self.heads} heads")
        return self


class HubSpeechConfig(Config):
    """A speech encoder of transformers that reads the wave: wav2vec2, HuBERT, WavLM and their kin."""

    kind: Literal["hub"] = "hub"
    """Which encoder: one of the hub."""
    pretrained: str | None = None
    """Name on the hub, or folder, that architecture and weights come from."""
    architecture: dict[str, Any] | None = None
    """Its configuration as plain data, with ``model_type``. Alone, it makes an encoder without weights, which is how a
    trained model is built again without network."""
    freeze_features: bool = True
    """The convolutions that read the wave do not learn, as in MMER."""
    standardise: bool | None = None
    """Bring each utterance's samples to mean 0 and variance 1; None does as the checkpoint's own preprocessor says."""
    mask_time: float = Field(default=0.05, ge=0, lt=1)
    """Share of the time steps that are hidden while training, in stretches of 10 (Baevski et al. 2020, section 3.1)."""
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout of the attention's weights while training; None does as the checkpoint says. With 0 training is faster
    on processors, whose fused attention has none."""
    sees_padding: bool = False
    """Padding is not masked, as in the published MMER, whose answers so depend on what else is in the batch: to compare
    numbers only."""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        check_source(self.pretrained, self.architecture, "speech encoder", such_as="wav2vec2")
        return self


class SmallSpeechEncoder(nn.Module):
    """Log-mel through convolutions that halve the bands, then a transformer over time.

    Padding is zero behind every layer and takes no part in the norms, so an utterance is read alike whatever its batch.
    """

    def __init__(self, config: SmallSpeechConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        ins = (1, *config.widths[:-1])
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=(2, 1), padding=1, bias=False) for i, o in zip(ins, config.widths, strict=True)
        )
        self.norms = nn.ModuleList(ValidNorm(width) for width in config.widths)
        bands = MEL_CHUNK_SHAPE[0] // config.shrink[0] >> len(config.widths)
        self.project = nn.Linear(config.widths[-1] * bands, config.dim)
        self.positions = PositionalEncoding(config.dim)
        layer = nn.TransformerEncoderLayer(
            config.dim, config.heads, config.feedforward, config.dropout, batch_first=True, norm_first=True
        )
        layer.self_attn.dropout = 0.0  # with dropout of its weights, attention takes a slow path on CPUs
        self.transformer = nn.TransformerEncoder(
            layer, config.layers, nn.LayerNorm(config.dim), enable_nested_tensor=False
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """See `maeum.models.mmer.build_speech_encoder`."""
        if batch.mel_chunks is None or batch.mel_chunks_mask is None or not bool(batch.mel_chunks_mask.any()):
            return None
        maps, mask = spectrogram(batch.mel_chunks, batch.mel_chunks_mask, self.config.range_db)
        maps, mask = F.avg_pool2d(maps, self.config.shrink), mask[:, :: self.config.shrink[1]]
        if self.training:
            maps = self._hide(maps, mask)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            maps = F.gelu(norm(conv(maps), mask)) * mask[:, None, None, :]
        steps = self.dropout(self.project(maps.permute(0, 3, 1, 2).flatten(2)))
        present = mask.any(1)
        read = self.transformer(self.positions(steps[present]), src_key_padding_mask=~mask[present])
        sequence = read.new_zeros(*mask.shape, self.dim)
        sequence[present] = read
        return sequence * mask.unsqueeze(2), mask

    def _hide(self, maps: Tensor, mask: Tensor) -> Tensor:
        """Two stretches of time and two of mel bands of each utterance, set to its floor."""
        hidden = torch.zeros_like(maps, dtype=torch.bool)
        lengths = mask.sum(1, keepdim=True)
        for axis, longest, size in ((3, self.config.mask_time, lengths), (2, self.config.mask_bands, None)):
            span = torch.full_like(lengths, maps.shape[axis]) if size is None else size
            place = torch.arange(maps.shape[axis], device=maps.device)
            for _ in range(2):
                width, start = torch.rand(2, len(maps), 1, device=maps.device)
                width = (width * (longest + 1)).floor()
                start = (start * (span - width).clamp(min=0)).floor()
                within = (place >= start) & (place < start + width)
                hidden |= within[:, None, None, :] if axis == 3 else within[:, None, :, None]
        return torch.where(hidden, -2.0, maps) * mask[:, None, None, :]


class ValidNorm(nn.BatchNorm2d):
    """Batch norm whose statistics are of the valid frames alone."""

    def forward(self, input: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """``(batch, channels, bands, frames)``, mask ``(batch, frames)``; what is not valid comes out as anything."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        values = input.to(torch.promote_types(input.dtype, torch.float32)) * mask[:, None, None, :]
        count = mask.sum() * input.shape[2]
        mean = values.sum((0, 2, 3)) / count
        variance = (values.square().sum((0, 2, 3)) / count - mean.square()).clamp(min=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance * count / (count - 1).clamp(min=1), self.momentum or 0.0)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (values * scale.view(1, -1, 1, 1) + (self.bias - mean * scale).view(1, -1, 1, 1)).to(input.dtype)


def spectrogram(mel_chunks: Tensor, mask: Tensor, range_db: float) -> tuple[Tensor, Tensor]:
    """Log-mel chunks as one map an utterance, relative to its loudest bin, and which frames of 12.5 ms are valid.

    Frames that only fill up an utterance's last mel chunk, those at the floor behind its last sound, are not valid.
    Valid values are in -2 (the floor) .. 2 (the loudest bin), others 0.

    Args:
        mel_chunks: ``(batch, mel_chunks, 1, 128, 32)``.
        mask: ``(batch, mel_chunks)``; valid mel chunks come first.
        range_db: what is further below the loudest bin is floor.

    Returns:
        ``(batch, 1, 128, 32 mel_chunks)`` and ``(batch, 32 mel_chunks)`` bool.
    """
    maps = mel_chunks.float().permute(0, 2, 3, 1, 4).flatten(3)  # (batch, 1, 128, frames)
    valid = mask.repeat_interleave(MEL_CHUNK_SHAPE[1], 1)
    maps = maps.masked_fill(~valid[:, None, None, :], -torch.inf)
    loudest = maps.amax((1, 2, 3), keepdim=True)
    loudest = torch.where(loudest.isfinite(), loudest, 0.0)
    span = range_db * NATURAL_PER_DB
    maps = (maps - loudest).clamp(min=-span)
    sounding = (maps.amax((1, 2)) > -span) & valid  # (batch, frames)
    last = torch.where(sounding, torch.arange(valid.shape[1], device=mask.device), -1).amax(1, keepdim=True)
    valid = valid & (torch.arange(valid.shape[1], device=mask.device) <= last)
    return (maps / (span / 4) + 2.0).masked_fill(~valid[:, None, None, :], 0.0), valid


def own_length_norm(norm: nn.GroupNorm, values: Tensor, lengths: Tensor) -> Tensor:
    """A group norm of one group a channel, over each utterance's own frames.

    Over padding too, as transformers' wav2vec2-base computes it, an answer depends on what else is in the batch.

    Args:
        norm: its weights.
        values: ``(batch, channels, frames)``.
        lengths: valid frames, ``(batch,)``.

    Returns:
        As ``values``; what is behind an utterance's end is zero.
    """
    mask = (torch.arange(values.shape[2], device=values.device) < lengths.unsqueeze(1)).unsqueeze(1)
    count = lengths.view(-1, 1, 1).clamp(min=1)
    centred = (values.float() - (values.float() * mask).sum(2, keepdim=True) / count) * mask
    scale = (centred.square().sum(2, keepdim=True) / count + norm.eps).rsqrt()
    weight, bias = norm.weight.view(1, -1, 1), norm.bias.view(1, -1, 1)
    return ((centred * scale * weight + bias) * mask).to(values.dtype)


class SoundReader(nn.Module):
    """The convolutions of a speech encoder of transformers, in the place of its own feature extractor.

    The encoder is given what they `read`, and finds here that there is nothing left to do.
    """

    def __init__(self, conv_layers: nn.ModuleList) -> None:
        super().__init__()
        self.conv_layers = conv_layers

    def read(self, wave: Tensor, lengths: Tensor | None) -> Tensor:
        """``(batch, samples) -> (batch, channels, frames)``.

        Args:
            wave: zero behind each utterance.
            lengths: valid frames behind the first convolution, ``(batch,)``; None normalises over padding too.
        """
        hidden = wave.unsqueeze(1)
        layer: Any
        for layer in self.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if lengths is not None and isinstance(norm, nn.GroupNorm):  # only the first one has such a norm
                hidden = layer.activation(own_length_norm(norm, layer.conv(hidden), lengths))
            else:
                hidden = layer(hidden)
        return hidden

    def forward(self, features: Tensor) -> Tensor:
        """What was read, as it is."""
        return features


class HubSpeechEncoder(nn.Module):
    """A speech encoder of transformers, whose answer about an utterance depends on that utterance alone."""

    def __init__(self, config: HubSpeechConfig, depth: int | None = None) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

        standardise = config.standardise
        if config.architecture is not None:
            found = self._changed(architecture(config.architecture, "speech encoder"), config, depth)
            self.model = AutoModel.from_config(found, dtype=torch.float32)  # type: ignore[no-untyped-call]
        else:
            assert config.pretrained is not None
            name = place(config.pretrained)

            def get(local: bool) -> nn.Module:
                found = self._changed(AutoConfig.from_pretrained(name, local_files_only=local), config, depth)
                read = AutoModel.from_pretrained(
                    name, config=found, local_files_only=local, dtype=torch.float32, output_loading_info=True
                )
                model: nn.Module = whole(read, name, "speech encoder")
                return model

            self.model = fetch(name, "speech encoder", get)
            if standardise is None:
                extractor = fetch(
                    name,
                    "preprocessor of a speech encoder",
                    lambda local: AutoFeatureExtractor.from_pretrained(  # type: ignore[no-untyped-call]
                        name, local_files_only=local
                    ),
                )
                standardise = bool(extractor.do_normalize)
        theirs: Any = self.model.config
        for part in ("feature_extractor", "feature_projection", "encoder"):
            if not hasattr(self.model, part):
                raise ModelError(f"is no speech encoder like wav2vec2: it has no {part}", item=theirs.model_type)
        self.dim = int(theirs.hidden_size)
        self.config = config.model_copy(
            update={
                "pretrained": None,
                "architecture": theirs.to_dict(),
                "standardise": True if standardise is None else standardise,
            }
        )
        self.kernels: Sequence[int] = tuple(theirs.conv_kernel)
        self.strides: Sequence[int] = tuple(theirs.conv_stride)
        self.model.feature_extractor = SoundReader(self.model.feature_extractor.conv_layers)
        self.masks = hasattr(self.model, "masked_spec_embed") and config.mask_time > 0
        theirs.mask_time_prob = theirs.mask_feature_prob = 0.0  # drawn here, from torch's generator: runs can resume
        if config.freeze_features:
            self.model.feature_extractor.requires_grad_(False)
        if not self.masks and hasattr(self.model, "masked_spec_embed"):
            self.model.masked_spec_embed.requires_grad_(False)

    @staticmethod
    def _changed(found: PreTrainedConfig, config: HubSpeechConfig, depth: int | None) -> PreTrainedConfig:
        if depth is not None:
            if depth > found.num_hidden_layers:
                raise ModelError(f"depth = {depth}, but it has {found.num_hidden_layers} layers", item=found.model_type)
            found.num_hidden_layers = depth
        if config.attention_dropout is not None:
            if not hasattr(found, "attention_dropout"):
                raise ModelError(
                    "has no attention_dropout to set",
                    item=found.model_type,
                    remedy="Leave attention_dropout out of network.speech.",
                )
            found.attention_dropout = config.attention_dropout
        return found

    def frames(self, samples: Tensor, layers: int | None = None) -> Tensor:
        """How many frames so many samples give, behind all convolutions or the first ``layers``; at least 0."""
        for kernel, stride in list(zip(self.kernels, self.strides, strict=True))[:layers]:
            samples = (samples - kernel).div(stride, rounding_mode="floor") + 1
        return samples.clamp(min=0)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """See `maeum.models.mmer.build_speech_encoder`. An utterance too short for a single vector has none."""
        if batch.wave is None or batch.wave_mask is None:
            return None
        lengths = batch.wave_mask.sum(1)
        counts = self.frames(lengths)
        present = counts > 0
        if not bool(present.any()):
            return None
        longest = int(self.frames(torch.tensor(batch.wave.shape[1])))
        mask = torch.arange(longest, device=counts.device) < counts.unsqueeze(1)
        if batch.sound_features is not None and self.config.freeze_features:
            features = batch.sound_features[present].transpose(1, 2)
        else:
            features = self._convolve(batch.wave[present], batch.wave_mask[present], lengths[present])
        read = self._read(features, batch.wave_mask[present], mask[present])
        sequence = read.new_zeros(len(mask), longest, self.dim)
        sequence[present] = read
        return sequence * mask.unsqueeze(2), mask

    @torch.inference_mode()
    def frozen_features(self, wave: Tensor) -> Tensor:
        """The convolutions' output for one utterance, for a cache: ``(samples,) -> (frames, channels)`` on the CPU."""
        lengths = torch.tensor([len(wave)])
        if not int(self.frames(lengths)):
            return torch.zeros(0, 1)
        device = next(self.model.parameters()).device
        wave = wave.unsqueeze(0).to(device)
        return self._convolve(wave, torch.ones_like(wave, dtype=torch.bool), lengths.to(device))[0].T.float().cpu()

    def frozen_part(self) -> tuple[nn.Module, dict[str, Any]]:
        """What makes `frozen_features`, and the settings that decide them beside its weights."""
        layers = {k: v for k, v in (self.config.architecture or {}).items() if k.startswith(("conv_", "feat_"))}
        return self.model.feature_extractor, {**layers, "standardise": self.config.standardise}

    def _convolve(self, wave: Tensor, mask: Tensor, lengths: Tensor) -> Tensor:
        """The convolutions: ``(batch, samples) -> (batch, channels, steps)``."""
        wave = wave.float() * mask
        if self.config.standardise:
            wave = standardised(wave, mask)
        reader: Any = self.model.feature_extractor
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_features):
            features: Tensor = reader.read(wave, None if self.config.sees_padding else self.frames(lengths, 1))
        return features

    def hidden_states(self, wave: Tensor, wave_mask: Tensor) -> tuple[list[Tensor], Tensor] | None:
        """The vectors before and behind every layer; see `WhisperEncoder.hidden_states`.

        None where every utterance is too short for a single vector.
        """
        lengths = wave_mask.sum(1)
        counts = self.frames(lengths)
        if not bool(counts.any()):
            return None
        features = self._convolve(wave, wave_mask, lengths)
        mask = torch.arange(features.shape[2], device=wave.device) < counts.unsqueeze(1)
        readable = wave_mask | (counts == 0).unsqueeze(1)  # attention over nothing is undefined
        output = self.model(features, attention_mask=readable.long(), output_hidden_states=True)
        return [state * mask.unsqueeze(2) for state in output.hidden_states], mask

    def _read(self, features: Tensor, samples: Tensor, mask: Tensor) -> Tensor:
        model: Any = self.model
        hidden = _stretches(mask, self.config.mask_time) if self.masks and self.training else None
        attention = None if self.config.sees_padding else samples.long()
        output = model(features, attention_mask=attention, mask_time_indices=hidden)
        read: Tensor = output.last_hidden_state
        return read


def standardised(wave: Tensor, mask: Tensor) -> Tensor:
    """Each row's valid samples with mean 0 and variance 1, zero behind them. ``(batch, samples)``."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    centred = (wave - (wave * mask).sum(1, keepdim=True) / count) * mask
    return centred * (centred.square().sum(1, keepdim=True) / count + _SILENCE).rsqrt()


def _stretches(mask: Tensor, share: float, length: int = 10) -> Tensor:
    """Which valid steps to hide: stretches that start anywhere, so that about ``share`` are hidden. As ``mask``."""
    starts = (torch.rand(mask.shape, device=mask.device) < share / length).float()
    behind = F.pad(starts, (length - 1, 0)).unsqueeze(1)
    return (F.max_pool1d(behind, length, 1)[:, 0] > 0) & mask
