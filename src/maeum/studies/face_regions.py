"""Where in a face selected positions lie: eyes, nose, mouth or background, by MTCNN's five landmarks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REGIONS = ("eyes", "nose", "mouth", "background")
#: Half widths of the regions, in distances between the eyes.
_EYE, _NOSE, _MOUTH = 0.3, 0.25, 0.22
#: Where landmarks lie in an aligned face, 0..1: eyes, nose, corners of the mouth (as seen, left first); x, y.
TEMPLATE = torch.tensor([[0.32, 0.38], [0.68, 0.38], [0.5, 0.58], [0.36, 0.76], [0.64, 0.76]])


def region_masks(landmarks: Tensor, height: int, width: int) -> Tensor:
    """Which region each position of a map is in; the first of `REGIONS` that it fits.

    Args:
        landmarks: ``(n, 5, 2)``: eyes, nose, corners of the mouth; x and y as shares of the face's width and height.
        height: of the map.
        width: likewise.

    Returns:
        ``(n, 4, height, width)`` bool, one True at each position.
    """
    points = landmarks * landmarks.new_tensor([width, height])
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = torch.stack((x, y), -1).to(points)  # (h, w, 2)
    unit = (points[:, 0] - points[:, 1]).norm(dim=1).view(-1, 1, 1).clamp(min=1e-6)
    near = [(places - points[:, i, None, None]).norm(dim=-1) / unit for i in range(3)]
    a, b = points[:, 3, None, None], points[:, 4, None, None]
    along = ((places - a) * (b - a)).sum(-1) / ((b - a) ** 2).sum(-1).clamp(min=1e-6)
    mouth = (places - a - along.clamp(0, 1).unsqueeze(-1) * (b - a)).norm(dim=-1) / unit
    found = [torch.minimum(near[0], near[1]) < _EYE, near[2] < _NOSE, mouth < _MOUTH]
    masks, free = [], torch.ones_like(found[0])
    for one in found:
        masks.append(one & free)
        free = free & ~one
    return torch.stack((*masks, free), 1)


def similarity(points: Tensor, template: Tensor) -> Tensor:
    """The rotation, scaling and shift that bring ``template`` nearest to each of ``points (n, k, 2)`` (Umeyama 1991).

    Returns:
        ``(n, 2, 3)``: multiplied with ``(x, y, 1)`` of the template it gives the points' place.
    """
    mean, centre = points.mean(1, keepdim=True), template.mean(0)
    off, base = points - mean, template - centre
    spread = (base**2).sum()
    cos = (off * base).sum((1, 2)) / spread
    sin = (base[:, 0] * off[:, :, 1] - base[:, 1] * off[:, :, 0]).sum(1) / spread
    turn = torch.stack((torch.stack((cos, -sin), 1), torch.stack((sin, cos), 1)), 1)
    shift = mean[:, 0] - turn @ centre
    return torch.cat((turn, shift.unsqueeze(2)), 2)


def aligned(maps: Tensor, landmarks: Tensor, size: int) -> Tensor:
    """Maps ``(n, channels, h, w)`` brought to the template's landmarks, ``(n, channels, size, size)``; zero outside."""
    move = similarity(landmarks, TEMPLATE.to(landmarks))
    # Both sides from 0..1 to the -1..1 of affine_grid.
    scale, shift = move[:, :, :2], move[:, :, 2]
    theta = torch.cat((scale, (2 * shift + scale.sum(2) - 1).unsqueeze(2)), 2)
    grid = F.affine_grid(theta, [len(maps), maps.shape[1], size, size], align_corners=False)
    return F.grid_sample(maps, grid, align_corners=False)


__all__ = ["REGIONS", "TEMPLATE", "aligned", "region_masks", "similarity"]
