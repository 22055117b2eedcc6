"""Random variations of training clips: pure tensor functions with an explicit generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.config import Config

Zoom = Annotated[float, Field(ge=0.1, le=10)]


class FaceAugment(Config):
    """How faces vary in training."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability, for each face, of its mirror image."""
    rotate_deg: float = Field(default=12.0, ge=0, le=180)
    """Largest rotation to either side, in degrees."""
    shift: float = Field(default=0.08, ge=0, le=1)
    """Largest shift, as a fraction of the face's side."""
    scale: tuple[Zoom, Zoom] = (0.85, 1.15)
    """Smallest and largest zoom factor; below 1 the face gets smaller."""
    gamma: float = Field(default=0.3, ge=0, le=3)
    """Largest change of the logarithm of the gamma correction."""
    noise: float = Field(default=0.03, ge=0, le=1)
    """Largest standard deviation of added noise; values are 0 to 1."""
    erase: float = Field(default=0.3, ge=0, le=1)
    """Probability, for each face, of a grey rectangle on it."""
    erase_side: float = Field(default=0.4, ge=0, le=1)
    """Largest side of that rectangle, as a fraction of the face's side."""
    blur: float = Field(default=0.1, ge=0, le=1)
    """Probability, for each face, of a loss of resolution by a factor of up to 2."""


def augment_faces(faces: Tensor, config: FaceAugment, generator: torch.Generator) -> Tensor:
    """Vary each face by itself. ``(n, channels, h, w)`` 0..255 of any dtype -> float32 of the same shape and range."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    n, channels, height, width = faces.shape
    images = faces.float() / 255.0
    angle = uniform(-config.rotate_deg, config.rotate_deg) * (torch.pi / 180)
    zoom = 1.0 / uniform(*config.scale)
    mirror = 1.0 - 2.0 * (uniform(0, 1) < config.flip).float()
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    across, down = uniform(-2, 2) * config.shift, uniform(-2, 2) * config.shift
    theta = torch.stack((cos * mirror, -sin, across, sin * mirror, cos, down), 1).view(n, 2, 3)
    grid = F.affine_grid(theta, [n, channels, height, width], align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    soft = (uniform(0, 1) < config.blur).nonzero().flatten()
    if len(soft):
        small = F.interpolate(images[soft], scale_factor=0.5, mode="bilinear", antialias=True)
        images[soft] = F.interpolate(small, size=(height, width), mode="bilinear")
    images = images.clamp(1e-4, 1.0).pow(torch.exp(uniform(-config.gamma, config.gamma)).view(n, 1, 1, 1))
    if config.noise:
        strength = (uniform(0, 1) * config.noise).view(n, 1, 1, 1)
        images = images + strength * torch.randn(images.shape, generator=generator)
    if config.erase:
        images = _erase(images, uniform, config)
    return images.clamp(0, 1) * 255.0


def _erase(images: Tensor, uniform: Callable[[float, float], Tensor], config: FaceAugment) -> Tensor:
    n, _, height, width = images.shape
    half_h = uniform(0.1, config.erase_side) * height / 2
    half_w = uniform(0.1, config.erase_side) * width / 2
    row, col = uniform(0, 1) * height, uniform(0, 1) * width
    rows = torch.arange(height).view(1, -1, 1)
    cols = torch.arange(width).view(1, 1, -1)
    hit = ((rows - row.view(n, 1, 1)).abs() < half_h.view(n, 1, 1)) & (
        (cols - col.view(n, 1, 1)).abs() < half_w.view(n, 1, 1)
    )
    hit &= (uniform(0, 1) < config.erase).view(n, 1, 1)
    return torch.where(hit.unsqueeze(1), uniform(0.2, 0.8).view(n, 1, 1, 1), images)
