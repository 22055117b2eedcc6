"""Regions of a face, and maps brought to one place for all faces."""

from __future__ import annotations

import math

import torch

from maeum.studies.face_regions import REGIONS, TEMPLATE, aligned, region_masks, similarity


def moved(points: torch.Tensor, turn: float, scale: float, shift: tuple[float, float]) -> torch.Tensor:
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return scale * points @ rotation.T + torch.tensor(shift)


def test_every_position_is_in_one_region_and_landmarks_are_in_theirs() -> None:
    masks = region_masks(TEMPLATE.unsqueeze(0).repeat(2, 1, 1), 24, 24)
    assert masks.shape == (2, len(REGIONS), 24, 24)
    assert (masks.sum(1) == 1).all()
    for point, region in zip(TEMPLATE, ("eyes", "eyes", "nose", "mouth", "mouth"), strict=True):
        x, y = (point * 24).long().tolist()
        assert masks[0, REGIONS.index(region), y, x]
    assert masks[0, REGIONS.index("mouth"), int(0.76 * 24), 12], "between its corners"
    assert masks[0, REGIONS.index("background"), 0, 0]
    shares = masks[0].float().mean((1, 2))
    assert 0.5 < shares[3] < 0.9


def test_regions_grow_with_the_face() -> None:
    small, large = (region_masks((0.5 + s * (TEMPLATE - 0.5)).unsqueeze(0), 48, 48) for s in (0.5, 1.0))
    ratio = float(large[0, 0].sum() / small[0, 0].sum())
    assert 3.3 < ratio < 4.7, "twice as large, four times the area"


def test_the_similarity_is_found_exactly() -> None:
    points = torch.stack([moved(TEMPLATE, turn, 0.7, (0.1, 0.2)) for turn in (0.0, 0.4, -0.3)])
    move = similarity(points, TEMPLATE)
    with_one = torch.cat((TEMPLATE, torch.ones(5, 1)), 1)
    torch.testing.assert_close(with_one @ move.transpose(1, 2), points, rtol=0, atol=1e-6)


def test_an_aligned_map_has_its_mark_at_the_template() -> None:
    size = 64
    points = moved(TEMPLATE, 0.3, 0.8, (0.25, 0.0)).unsqueeze(0)
    picture = torch.zeros(1, 1, size, size)
    x, y = (points[0, 2] * size).tolist()
    picture[0, 0, int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] = 1.0
    found = aligned(picture, points, size)[0, 0]
    row, column = divmod(int(found.argmax()), size)
    nose = TEMPLATE[2] * size
    assert abs(column + 0.5 - nose[0]) < 2
    assert abs(row + 0.5 - nose[1]) < 2
