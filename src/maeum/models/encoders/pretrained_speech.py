"""One vector of an utterance from the layers of a pretrained speech encoder: Whisper, wav2vec2, HuBERT or WavLM.

Emotion shows best in the middle layers, so all of them are mixed by learned weights (Yang et al., SUPERB,
Interspeech 2021; Pepino et al., Interspeech 2021). Steps are pooled by attentive statistics (Okabe et al.,
Interspeech 2018) or by their mean.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ModelError
from maeum.models.encoders.hub import check_source, place
from maeum.models.encoders.speech import HubSpeechConfig, HubSpeechEncoder
from maeum.models.encoders.whisper import WhisperEncoder, is_whisper, states_behind
from maeum.types import Batch

#: The encoder where a recipe names none.
_USUAL = "whisper-base"
#: Keeps the gradient of a deviation of 0 finite.
_LEAST_VARIANCE = 1e-5
#: Rows that decide a mean and deviation.
_MOST_ROWS = 16_384
#: Samples of 20 ms, whose loudness decides, and of the silence that stays at the ends of an utterance.
_STEP, _MARGIN = 320, 3200


class PretrainedSpeechConfig(Config):
    """The layers of a pretrained speech encoder that reads the wave, mixed and pooled."""

    kind: Literal["pretrained"] = "pretrained"
    """Which speech branch: this one."""
    pretrained: str | None = None
    """The speech encoder: a name of fetched weights (``maeum fetch``), a folder, or a name on the hub. null is
    ``whisper-base``."""
    architecture: dict[str, Any] | None = None
    """The encoder's configuration as plain data, with ``model_type``, instead of ``pretrained``: an encoder without
    weights, which is how a trained model is built again without network."""
    depth: int | None = Field(default=None, ge=1, le=256)
    """So many of its layers, from below; null takes all. Emotion shows in the lower ones, and fewer are quicker."""
    trained_layers: int = Field(default=0, ge=0, le=256)
    """So many of these layers, from above, learn too; the others and the convolutions are frozen."""
    pooling: Literal["attentive", "mean", "each"] = "attentive"
    """How steps become one vector. ``attentive``: means and deviations of the mixed layers, weighted by a learned
    attention. ``mean``: their mean. ``each``: means and deviations of every layer, side by side, unmixed; for frozen
    layers, with ``standardise``."""
    shrink: int = Field(default=1, ge=1, le=16)
    """So many steps of 20 ms are averaged into one, behind the encoder: what follows costs that much less."""
    adapter: int | None = Field(default=None, ge=1, le=4096)
    """Width of a layer and a convolution over the steps of the mixed layers, which always learn: what a task changes in
    the encoder, where its own layers are frozen. null has none."""
    standardise: bool = False
    """Standardise each value of the pooled vector by its mean and deviation in training. Values of a pretrained encoder
    differ far more from each other than between utterances, so a head behind them learns much sooner."""
    silence_db: float | None = Field(default=None, ge=10, le=100)
    """Cut off what lies before the first and behind the last 20 ms that are less than so many dB below the utterance's
    loudest, but for 0.2 s; null reads all. Silence costs as much as speech."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout of the pooled vector while training, and of the layer behind it."""
    mask_time_s: float = Field(default=0.0, ge=0, le=5)
    """The longest stretch of log-mel that is hidden while training, in seconds; there are two in every utterance
    (SpecAugment: Park et al. 2019). For Whisper alone."""
    mask_bands: int = Field(default=0, ge=0, le=60)
    """The longest stretch of mel bands that is hidden while training; there are two. For Whisper alone."""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.pretrained is not None or self.architecture is not None:
            check_source(self.pretrained, self.architecture, "speech encoder", such_as="whisper")
        if self.adapter is not None and self.pooling == "each":
            raise ValueError("pooling each reads the layers unmixed, and an adapter reads them mixed")
        return self


class Adapter(nn.Module):
    """A layer, and a convolution over five steps with a residual, of the mixed layers of a pretrained encoder."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(dim, width)
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, 5, padding=2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """Mix and adapt.

        Args:
            states: ``(batch, steps, layers, dim)``.
            weights: of the layers, ``(layers,)``.
            mask: valid steps, ``(batch, steps)``.

        Returns:
            ``(batch, steps, width)``, zero where padded.
        """
        both = (weights.view(1, -1, 1) * self.project.weight.unsqueeze(1)).flatten(1)  # mixed and projected in one go
        hidden = F.linear(states.flatten(2), both, self.project.bias) * mask.unsqueeze(2)
        around = self.conv((self.norm(hidden) * mask.unsqueeze(2)).transpose(1, 2)).transpose(1, 2)
        adapted: Tensor = hidden + self.dropout(F.gelu(around))
        return adapted * mask.unsqueeze(2)


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time, each step weighted by a learned attention (Okabe et al. 2018).

    ``(batch, steps, dim)``, mask ``(batch, steps)`` ``-> (batch, 2 dim)``; zeros without a valid step.
    """

    def __init__(self, dim: int, width: int = 64) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        scores = self.score(sequence)[..., 0].masked_fill(~mask, -1e4)
        weights = (scores.softmax(1) * mask).unsqueeze(2)  # (batch, steps, 1)
        mean = (weights * sequence).sum(1)
        variance = (weights * (sequence - mean.unsqueeze(1)).square()).sum(1)
        deviation = (variance + _LEAST_VARIANCE).sqrt() * mask.any(1, keepdim=True)
        return torch.cat((mean, deviation), 1)


class Standardise(nn.Module):
    """Values by their mean and deviation in training, ``(batch, width) -> (batch, width)``.

    The first 16,384 rows of a training decide them, all alike; later ones change nothing. A batch is standardised by
    them, not by itself, so an answer never depends on who else is in its batch, although batches are of like lengths.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.variance: Tensor
        self.rows: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("rows", torch.zeros(()))

    @torch.no_grad()
    def learn(self, vectors: Tensor) -> None:
        """Take rows into account, ``(rows, width)``."""
        vectors = vectors.float()
        share = len(vectors) / (float(self.rows) + len(vectors))
        moved = vectors.mean(0) - self.mean
        between = share * (1 - share) * moved.square()
        self.variance.mul_(1 - share).add_(share * vectors.var(0, correction=0) + between)
        self.mean.add_(share * moved)
        self.rows.add_(len(vectors)).clamp_(max=_MOST_ROWS)

    def forward(self, vectors: Tensor) -> Tensor:
        """See the class."""
        if self.training and len(vectors) and float(self.rows) < _MOST_ROWS:
            self.learn(vectors.detach())
        return (vectors.float() - self.mean) / (self.variance + _LEAST_VARIANCE).sqrt()


def head_input(config: PretrainedSpeechConfig, width: int) -> list[nn.Module]:
    """What stands between an utterance's vector and the first layer; it learns even where the encoder does not."""
    return [*([Standardise(width)] if config.standardise else []), nn.Dropout(config.dropout)]


def read_present(layers: nn.Module, vectors: Tensor, present: Tensor) -> Tensor:
    """What layers such as `head_input` make of the utterances that there are.

    The zeros in the place of the others are kept from `Standardise`, whose mean they would move.

    Args:
        layers: ``(n, width) -> (n, out)``.
        vectors: ``(batch, width)``.
        present: which rows are of an utterance, ``(batch,)`` bool.

    Returns:
        ``(batch, out)``, zero where there is none.
    """
    if bool(present.all()):
        everything: Tensor = layers(vectors)
        return everything
    found: Tensor = layers(vectors[present])
    return found.new_zeros(len(vectors), found.shape[1]).index_put((present,), found)


def trimmed(wave: Tensor, mask: Tensor, silence_db: float) -> tuple[Tensor, Tensor]:
    """Utterances without the silence at their ends, moved to the front.

    Args:
        wave: ``(batch, samples)`` at 16 kHz.
        mask: which samples are valid, from the first on, ``(batch, samples)`` bool.
        silence_db: what is so much softer than the utterance's loudest 20 ms is silence; 0.2 s of it stay at each end.

    Returns:
        Wave and mask, as long as the longest.
    """
    steps = wave.shape[1] // _STEP
    lengths = mask.sum(1)
    if steps == 0:
        return wave, mask
    power = (wave * mask)[:, : steps * _STEP].reshape(len(wave), steps, _STEP).square().mean(2)  # (batch, steps)
    loud = power > power.amax(1, keepdim=True) * 10 ** (-silence_db / 10)
    place = torch.arange(steps, device=wave.device)
    first = torch.where(loud, place, steps).amin(1) * _STEP - _MARGIN
    last = (torch.where(loud, place, -1).amax(1) + 1) * _STEP + _MARGIN
    silent = ~loud.any(1)
    first = torch.where(silent, 0, first.clamp(min=0))
    lengths = torch.where(silent, lengths, torch.minimum(last, lengths) - first)
    at = first.unsqueeze(1) + torch.arange(int(lengths.max()), device=wave.device)
    valid = at < (first + lengths).unsqueeze(1)
    return wave.gather(1, at.clamp(max=wave.shape[1] - 1)) * valid, valid


class PretrainedLayers(nn.Module):
    """A pretrained encoder's layers, mixed. ``Batch -> (sequence (batch, steps, dim), mask (batch, steps))``.

    ``config`` builds it again without network; ``dim`` is a step's width.

    Raises:
        ModelError: when the encoder cannot be had, has fewer layers, or an utterance is longer than it reads.
    """

    def __init__(self, config: PretrainedSpeechConfig) -> None:
        super().__init__()
        source = None if config.architecture is not None else place(config.pretrained or _USUAL)
        self.encoder: WhisperEncoder | HubSpeechEncoder
        if is_whisper(source, config.architecture):
            self.encoder = WhisperEncoder(
                source, config.architecture, config.depth, mask_time_s=config.mask_time_s, mask_bands=config.mask_bands
            )
            settings, layers = self.encoder.settings, self.encoder.model.layers
        else:
            hub = HubSpeechConfig(pretrained=source, architecture=config.architecture, mask_time=0.0)
            self.encoder = HubSpeechEncoder(hub, config.depth)
            self.encoder.model.config.layerdrop = 0.0  # the mix wants all layers
            settings, layers = self.encoder.config.architecture or {}, self.encoder.model.encoder.layers
        self.config = config.model_copy(update={"pretrained": None, "architecture": settings, "depth": None})
        if config.trained_layers > len(layers):
            raise ModelError(
                f"trained_layers = {config.trained_layers}, but {len(layers)} layers are used",
                remedy=f"Give at most {len(layers)}.",
            )
        self.encoder.requires_grad_(False)
        for layer in list(layers)[len(layers) - config.trained_layers :]:
            layer.requires_grad_(True)
        self.mix = nn.Parameter(torch.zeros(len(layers) + 1))
        self.dim = config.adapter or self.encoder.dim
        self.adapter = None
        if config.adapter is not None:
            self.adapter = Adapter(self.encoder.dim, config.adapter, config.dropout)

    @property
    def kept_states(self) -> int | None:
        """How many of the states, from below, `frozen_features` gives, as nothing before them learns or varies.

        None: there are none that a cache could keep. Of encoders other than Whisper a part is never kept.
        """
        trained, varies = self.config.trained_layers, self.config.mask_time_s or self.config.mask_bands
        if varies or (trained and not isinstance(self.encoder, WhisperEncoder)):
            return None
        return len(self.mix) - trained

    def frozen_part(self) -> tuple[nn.Module, dict[str, Any]]:
        """What makes `frozen_features`, and the settings that decide them beside its weights."""
        settings = self.config.model_dump(mode="json", include={"architecture", "silence_db"})
        shrink = 1 if self.config.trained_layers else self.config.shrink
        settings |= {"states": self.kept_states, "shrink": shrink, "pooled": False}
        if not isinstance(self.encoder, WhisperEncoder) or self.kept_states is None:
            return self.encoder, settings
        model = self.encoder.model
        layers = model.layers[: self.kept_states - 1]
        return nn.ModuleList([model.conv1, model.conv2, model.embed_positions, *layers]), settings

    @torch.inference_mode()
    def frozen_features(self, wave: Tensor) -> Tensor:
        """What a cache may keep of one utterance, in 16 bit: ``(samples,) -> (steps, kept_states, dim)``.

        The states, normalised and shrunk; as they are where layers follow that learn.
        """
        found = self._hear(_alone(wave.to(self.mix.device)))
        if found is None:
            return torch.zeros(0, self.kept_states or 0, self.encoder.dim, dtype=torch.float16)
        states, mask = found
        kept = torch.stack(states[: self.kept_states], 2)
        if not self.config.trained_layers:
            kept, mask = shrunk(_normalised(kept), mask, self.config.shrink)
        return kept[0, mask[0]].half().cpu()

    def states(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """Each layer's vectors ``(batch, steps, layers + 1, dim)``, normalised, the convolutions' first; and a mask.

        None when the batch has no sound at 16 kHz. Norms of layers differ by a factor of a hundred; without the
        normalisation the last ones would drown the others.
        """
        if batch.wave is not None and batch.sound_features is not None and batch.sound_features_mask is not None:
            kept, mask = batch.sound_features, batch.sound_features_mask
            if kept.shape[2] == len(self.mix):
                return kept if torch.is_autocast_enabled(kept.device.type) else kept.to(self.mix.dtype), mask
            assert isinstance(self.encoder, WhisperEncoder)
            kept = kept.to(self.mix.dtype)
            above = states_behind(list(self.encoder.model.layers)[kept.shape[2] - 1 :], kept[:, :, -1], mask)
            return shrunk(_normalised(torch.cat((kept, torch.stack(above, 2)), 2)), mask, self.config.shrink)
        found = self._hear(batch)
        return None if found is None else shrunk(_normalised(torch.stack(found[0], 2)), found[1], self.config.shrink)

    def _hear(self, batch: Batch) -> tuple[list[Tensor], Tensor] | None:
        """See `states`; not normalised, and without a cache."""
        if batch.wave is None or batch.wave_mask is None or not bool(batch.wave_mask.any()):
            return None
        wave, wave_mask = batch.wave, batch.wave_mask
        if self.config.silence_db is not None:
            wave, wave_mask = trimmed(wave, wave_mask, self.config.silence_db)
        return self.encoder.hidden_states(wave, wave_mask)

    def mixed(self, states: Tensor, mask: Tensor) -> Tensor:
        """The layers added up by their learned weights, and adapted; ``(batch, steps, dim)``, zero where padded."""
        weights = self.mix.softmax(0)
        if self.adapter is not None:
            adapted: Tensor = self.adapter(states, weights, mask)
            return adapted
        return torch.einsum("btld,l->btd", states.to(weights.dtype), weights) * mask.unsqueeze(2)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """See the class; None when the batch has no sound at 16 kHz."""
        found = self.states(batch)
        return None if found is None else (self.mixed(*found), found[1])


def _normalised(states: Tensor) -> Tensor:
    """Each vector with mean 0 and variance 1."""
    return F.layer_norm(states, states.shape[-1:])


def shrunk(sequence: Tensor, mask: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Each ``times`` steps averaged into one, over the valid ones alone.

    ``(batch, steps, ...)``, mask ``(batch, steps)`` ``-> (batch, steps / times, ...)`` and its mask, rounded up.
    """
    if times == 1:
        return sequence, mask
    rest = sequence.shape[2:]
    missing = -mask.shape[1] % times
    valid = mask.view(*mask.shape, *(1,) * len(rest))
    padded = F.pad(sequence * valid, (0, 0) * len(rest) + (0, missing))
    count = F.pad(mask, (0, missing)).view(len(mask), -1, times).sum(2)
    mean = padded.view(len(mask), -1, times, *rest).sum(2) / count.clamp(min=1).view(*count.shape, *(1,) * len(rest))
    return mean, count > 0


def _alone(wave: Tensor) -> Batch:
    """The batch of one utterance, ``(samples,)``."""
    row = wave.unsqueeze(0)
    return Batch(("",), wave=row, wave_mask=torch.ones_like(row, dtype=torch.bool))


class PretrainedSpeech(PretrainedLayers):
    """One vector of an utterance. ``Batch -> (vectors (batch, width), which utterances have one (batch,))``."""

    def __init__(self, config: PretrainedSpeechConfig) -> None:
        super().__init__(config)
        self.pool = AttentiveStatistics(self.dim) if config.pooling == "attentive" else None
        self.width = {"attentive": 2, "mean": 1, "each": 2 * (len(self.mix) - 1)}[config.pooling] * self.dim
        if config.pooling == "each":
            self.mix.requires_grad_(False)

    @property
    def keeps_vector(self) -> bool:
        """Whether all of it is frozen, the pooling too."""
        return self.config.pooling == "each" and self.config.trained_layers == 0

    def frozen_part(self) -> tuple[nn.Module, dict[str, Any]]:
        """See `PretrainedLayers`."""
        part, settings = super().frozen_part()
        return part, {**settings, "pooled": self.keeps_vector}

    @torch.inference_mode()
    def frozen_features(self, wave: Tensor) -> Tensor:
        """See `PretrainedLayers`; the pooled vector, ``(1, width)``, where `keeps_vector`, which is far smaller."""
        if not self.keeps_vector:
            return super().frozen_features(wave)
        found = self(_alone(wave.to(self.mix.device)))
        return torch.zeros(0, self.width) if found is None else found[0].float().cpu()

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """See the class; None when the batch has no sound at 16 kHz."""
        if self.keeps_vector and batch.sound_features is not None:
            assert batch.sound_features_mask is not None
            return batch.sound_features[:, 0], batch.sound_features_mask[:, 0]
        found = self.states(batch)
        if found is None:
            return None
        states, mask = found
        if self.config.pooling == "each":
            return torch.cat(
                [statistic for state in states.unbind(2)[1:] for statistic in _statistics(state, mask)], 1
            ), mask.any(1)
        mixed = self.mixed(states, mask)
        if self.pool is not None:
            vectors: Tensor = self.pool(mixed, mask)
            return vectors, mask.any(1)
        return mixed.sum(1) / mask.sum(1, keepdim=True).clamp(min=1), mask.any(1)


def _statistics(sequence: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the valid steps of ``(batch, steps, dim)``, ``(batch, dim)`` each, in float32."""
    valid, count = mask.unsqueeze(2), mask.sum(1, keepdim=True).clamp(min=1)
    sequence = sequence.float() * valid
    mean = sequence.sum(1) / count
    variance = ((sequence - mean.unsqueeze(1)) * valid).square().sum(1) / count
    return mean, (variance + _LEAST_VARIANCE).sqrt() * mask.any(1, keepdim=True)
