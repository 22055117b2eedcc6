"""Whisper's encoder (Radford et al. 2023) in plain PyTorch, with the weights' names of transformers.

Importing transformers' own takes seconds, which whoever wants one answer would wait for. Outputs are the same
(tests/unit/models/encoders/test_whisper.py).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from maeum.errors import ModelError
from maeum.media.shapes import SAMPLE_RATE_HZ

_Size = Annotated[int, Field(ge=1, le=1_000_000)]
#: Slaney's scale is linear up to 1 kHz (200 / 3 Hz a mel), and logarithmic above (27 mels for a factor of 6.4).
_LINEAR_HZ, _BREAK_HZ = 200.0 / 3, 1000.0
_LOG_STEP = np.log(6.4) / 27


class WhisperArchitecture(BaseModel):
    """What of a configuration of transformers decides the encoder; everything else is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: Literal["whisper"]
    d_model: _Size
    encoder_layers: Annotated[int, Field(ge=1, le=256)]
    encoder_attention_heads: Annotated[int, Field(ge=1, le=256)]
    encoder_ffn_dim: _Size
    num_mel_bins: Annotated[int, Field(ge=1, le=1024)] = 80
    max_source_positions: _Size = 1500
    activation_function: Literal["gelu"] = "gelu"

    @classmethod
    def of(cls, given: dict[str, Any]) -> WhisperArchitecture:
        """Plain data, checked; raises ModelError naming the setting that cannot be."""
        try:
            found = cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ModelError(f"no Whisper can be built from this architecture ({name}: {first['msg']})",
                             item=given.get("model_type")) from error  # fmt: skip
        if found.d_model % found.encoder_attention_heads:
            raise ModelError(f"{found.encoder_attention_heads} heads do not divide a width of {found.d_model}",
                             item="whisper")  # fmt: skip
        return found


class _SelfAttention(nn.Module):
    def __init__(self, config: WhisperArchitecture) -> None:
        super().__init__()
        width, self.heads = config.d_model, config.encoder_attention_heads
        self.q_proj, self.v_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.k_proj, self.out_proj = nn.Linear(width, width, bias=False), nn.Linear(width, width)

    def forward(self, hidden: Tensor, readable: Tensor | None) -> Tensor:
        projections = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (p(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2) for p in projections)
        read = F.scaled_dot_product_attention(q, k, v, readable)
        out: Tensor = self.out_proj(read.transpose(1, 2).flatten(2))
        return out


class _Layer(nn.Module):
    def __init__(self, config: WhisperArchitecture) -> None:
        super().__init__()
        self.self_attn = _SelfAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, hidden: Tensor, readable: Tensor | None) -> Tensor:
        """``(batch, steps, width)``, which steps are read ``(batch, 1, 1, steps)`` bool -> the same shape."""
        hidden = hidden + self.self_attn(self.self_attn_layer_norm(hidden), readable)
        out: Tensor = hidden + self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden))))
        return out


class WhisperLayers(nn.Module):
    """The parts of Whisper's encoder; `maeum.models.encoders.whisper.encoder_states` walks through them."""

    def __init__(self, config: WhisperArchitecture) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, config.d_model)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(config.d_model)


def slaney_filters(bands: int, bins: int) -> Tensor:
    """Triangles of area 1 on Slaney's mel scale from 0 to 8 kHz, ``(bands, bins)``; bins are evenly spaced there."""
    top = SAMPLE_RATE_HZ / 2
    highest = _BREAK_HZ / _LINEAR_HZ + np.log(top / _BREAK_HZ) / _LOG_STEP
    mels = np.linspace(0.0, highest, bands + 2)
    above = mels - _BREAK_HZ / _LINEAR_HZ
    edges = np.where(above < 0, mels * _LINEAR_HZ, _BREAK_HZ * np.exp(above * _LOG_STEP))
    hz = np.linspace(0.0, top, bins)
    rising = (hz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hz) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return torch.from_numpy(triangles).float()
