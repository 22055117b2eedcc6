"""Parts that the networks share: VGG blocks, the transformer over a sequence with a CLS, masks made dense."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from maeum.sparse import ConvNorm


def check_width(dim: int, heads: int, *, positions: bool = False) -> None:
    """Raise ValueError when attention heads do not divide a width, or sinusoidal positions need an even one."""
    if dim % heads:
        raise ValueError(f"dim {dim} does not divide among {heads} heads")
    if positions and dim % 2:
        raise ValueError(f"dim {dim} is odd, and sinusoidal positions need an even one")


class VGGBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU. ``(n, in, h, w) -> (n, out, h, w)``."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, in, h, w) -> (n, out, h, w)``."""
        maps = torch.relu_(self.bn1(self.conv1(maps)))
        return torch.relu_(self.bn2(self.conv2(maps)))


class Stem(nn.Sequential):
    """The low-level part of FE2E's CNN: conv 5x5, BN, ReLU, max-pool 2, then VGG blocks of the same width."""

    def __init__(self, in_channels: int, width: int, blocks: int = 2) -> None:
        super().__init__(
            nn.Conv2d(in_channels, width, 5, padding=2),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            *(VGGBlock(width, width) for _ in range(blocks)),
        )

    def layers(self) -> tuple[ConvNorm, list[ConvNorm]]:
        """The first convolution with its norm, and those of the VGG blocks."""
        convs = [m for m in self.modules() if isinstance(m, nn.Conv2d)]
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)]
        first, *rest = zip(convs, norms, strict=True)
        return first, rest


class PositionalEncoding(nn.Module):
    """Sinusoidal positions (Vaswani et al. 2017, section 3.5), for sequences of any length."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"positional encoding needs an even dimension, not {dim}")
        self.dim = dim

    def forward(self, sequence: Tensor) -> Tensor:
        """Add positions to ``(batch, length, dim)``."""
        length = sequence.shape[1]
        position = torch.arange(length, device=sequence.device, dtype=torch.float32).unsqueeze(1)
        step = torch.arange(0, self.dim, 2, device=sequence.device, dtype=torch.float32)
        angle = position * torch.exp(step * (-math.log(10000.0) / self.dim))
        encoding = torch.stack((angle.sin(), angle.cos()), -1).flatten(1)
        return sequence + encoding.to(sequence.dtype)


class SequenceEncoder(nn.Module):
    """Transformer over frames or mel chunks with a learned CLS in front (Dai et al. 2021, section 3).

    Args:
        dim: width of the sequence.
        layers: number of transformer layers.
        heads: attention heads of a layer.
        feedforward: width of a layer's feed-forward part.
        dropout: inside the transformer.
        positions: add sinusoidal positions (the published networks have none).
    """

    def __init__(self, dim: int, layers: int, heads: int, feedforward: int, dropout: float, positions: bool) -> None:
        super().__init__()
        self.cls = nn.Parameter(torch.randn(1, 1, dim) * dim**-0.5)
        layer = nn.TransformerEncoderLayer(dim, heads, feedforward, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.positions = PositionalEncoding(dim) if positions else nn.Identity()

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """Summary of each sequence.

        Args:
            sequence: ``(batch, length, dim)``.
            mask: ``(batch, length)`` bool, True = valid.

        Returns:
            ``(batch, dim)``, the CLS position's output.
        """
        batch = sequence.shape[0]
        sequence = self.positions(torch.cat((self.cls.expand(batch, -1, -1), sequence), 1))
        mask = torch.cat((mask.new_ones(batch, 1), mask), 1)
        output: Tensor = self.transformer(sequence, src_key_padding_mask=~mask)
        return output[:, 0]


def scatter_valid(values: Tensor, mask: Tensor) -> Tensor:
    """Put ``values (valid, ...)``, in the order of ``mask.nonzero()``, into zeros ``(batch, length, ...)``."""
    dense = values.new_zeros(*mask.shape, *values.shape[1:])
    dense[mask] = values
    return dense
