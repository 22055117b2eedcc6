"""MTCNN as published, one frame at a time at full resolution: what the fast detector is held to.

The steps and constants follow the published method with the conventions of its common PyTorch form: area resizing,
windows that are clipped at the picture's edge, and pixels that count from 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from maeum.media.boxes import Boxes, moved, squared, suppress, windows
from maeum.media.mtcnn.networks import OutputNet, ProposalNet, RefineNet

#: Side of P-Net's window and its stride, in pixels of a pyramid level.
CELL_PX, STRIDE_PX = 12, 2
PYRAMID_FACTOR = 0.709
THRESHOLDS = (0.6, 0.7, 0.7)
MIN_FACE_PX = 20


def pyramid_scales(width_px: int, height_px: int, min_face_px: float = MIN_FACE_PX) -> list[float]:
    """Scales at which P-Net's 12-pixel window is a face of ``min_face_px`` and larger."""
    scale = CELL_PX / min_face_px
    scales = []
    while min(width_px, height_px) * scale >= CELL_PX:
        scales.append(scale)
        scale *= PYRAMID_FACTOR
    return scales


def detect_reference(
    networks: tuple[ProposalNet, RefineNet, OutputNet], rgb: NDArray[np.uint8], min_face_px: float = MIN_FACE_PX
) -> tuple[Boxes, NDArray[np.float32], NDArray[np.float32]]:
    """Faces of one frame.

    Args:
        networks: from `load_networks`.
        rgb: ``(height, width, 3)`` uint8.
        min_face_px: smallest face looked for.

    Returns:
        boxes ``(n, 4)``, confidences ``(n,)``, landmarks ``(n, 5, 2)``; best first.
    """
    p_net, r_net, o_net = networks
    picture = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        boxes, scores = _propose(p_net, picture, min_face_px)
        if not len(boxes):
            return nothing()
        offsets, face = (t.numpy() for t in r_net(_crops(picture, boxes, 24)))
        passed = face > THRESHOLDS[1]
        boxes, scores, offsets = boxes[passed], face[passed], offsets[passed]
        keep = _once(boxes, scores, 0.7)
        boxes = squared(moved(boxes[keep], offsets[keep], 1.0))
        if not len(boxes):
            return nothing()
        offsets, face, points = (t.numpy() for t in o_net(_crops(picture, boxes, 48)))
        passed = face > THRESHOLDS[2]
        return finish(boxes[passed], face[passed], offsets[passed], points[passed])


def nothing() -> tuple[Boxes, NDArray[np.float32], NDArray[np.float32]]:
    """The answer for a frame without faces."""
    return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)


def finish(
    boxes: Boxes,
    face: NDArray[np.float32],
    offsets: NDArray[np.float32],
    points: NDArray[np.float32],
) -> tuple[Boxes, NDArray[np.float32], NDArray[np.float32]]:
    """O-Net's answers as final boxes, confidences and landmarks ``(n, 5, 2)``, best first."""
    size = boxes[:, 2:] - boxes[:, :2] + 1.0
    landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None] + boxes[:, None, :2] - 1.0
    boxes = moved(boxes, offsets, 1.0)
    keep = suppress(boxes, face, np.zeros(len(boxes), int), 0.7, by="min")
    return boxes[keep], face[keep], landmarks[keep].astype(np.float32)


def _propose(p_net: ProposalNet, picture: Tensor, min_face_px: float) -> tuple[Boxes, NDArray[np.float32]]:
    height, width = picture.shape[-2:]
    found, scores = [], []
    for scale in pyramid_scales(width, height, min_face_px):
        level = functional.interpolate(picture, size=(int(height * scale + 1), int(width * scale + 1)), mode="area")
        offsets, face = p_net((level - 127.5) * 0.0078125)
        rows, cols = (face[0] >= THRESHOLDS[0]).nonzero(as_tuple=True)
        score = face[0, rows, cols].numpy()
        cells = cell_boxes(rows.numpy(), cols.numpy(), scale)
        keep = _once(cells, score, 0.5)
        found.append(np.concatenate((cells, offsets[0, :, rows, cols].T.numpy()), 1)[keep])
        scores.append(score[keep])
    if not found:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    proposals, score = np.concatenate(found), np.concatenate(scores)
    keep = _once(proposals[:, :4], score, 0.7)
    return squared(moved(proposals[keep, :4], proposals[keep, 4:], 0.0)), score[keep]


def cell_boxes(rows: NDArray[Any], cols: NDArray[Any], scale: float) -> Boxes:
    """P-Net's windows in pixels of the picture."""
    start = np.stack((cols, rows), 1).astype(np.float32) * STRIDE_PX
    scale32 = np.float32(scale)
    return np.concatenate((np.floor((start + 1) / scale32), np.floor((start + CELL_PX) / scale32)), 1)


def _once(boxes: Boxes, scores: NDArray[np.float32], threshold: float) -> NDArray[np.intp]:
    return suppress(boxes, scores, np.zeros(len(boxes), int), threshold)


def _crops(picture: Tensor, boxes: Boxes, size_px: int) -> Tensor:
    """Normalised windows ``(n, 3, size, size)``; an empty window is black."""
    height, width = picture.shape[-2:]
    crops = torch.zeros(len(boxes), 3, size_px, size_px)
    for i, (left, top, right, bottom) in enumerate(windows(boxes, width, height).tolist()):
        if right > left and bottom > top:
            window = picture[:, :, top:bottom, left:right]
            crops[i] = functional.interpolate(window, size=(size_px, size_px), mode="area")[0]
    return (crops - 127.5) * 0.0078125
