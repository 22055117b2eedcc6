"""The same cascade as `mtcnn_reference`, several times faster on a CPU.

Nothing is approximated; the numbers differ by rounding only. What makes it fast:

- Area resizing by an integral image: every pyramid level and every window of the later stages is a handful of look-ups.
- The networks run channels-last, padded with zero channels to widths that vector units like, in strips and chunks
  whose intermediate maps stay in the cache. Normalisation is folded into the first convolution, and P-Net's box offsets
  are computed only where it says "face".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from maeum.media.boxes import Boxes, moved, squared, suppress, windows
from maeum.media.mtcnn_networks import OutputNet, ProposalNet, RefineNet
from maeum.media.mtcnn_reference import CELL_PX, STRIDE_PX, THRESHOLDS, cell_boxes, finish, pyramid_scales

#: Pixels of a pyramid level that P-Net sees at a time; crops that R-Net and O-Net see at a time.
_STRIP_PX, _R_CHUNK, _O_CHUNK = 48_000, 64, 32

Found = tuple[Boxes, NDArray[np.float32], NDArray[np.float32]]


class IntegralImage:
    """Sums over rectangles of a picture; area resizing of the whole or of windows."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self.height, self.width = rgb.shape[:2]
        # 32 bits may overflow in the sums, never in a difference over one window: arithmetic is modulo 2**32.
        sums = np.zeros((self.height + 1, self.width + 1, 3), np.int32)
        body = sums[1:, 1:]
        np.cumsum(rgb, axis=1, dtype=np.int32, out=body)
        for row in range(1, self.height):
            body[row] += body[row - 1]
        self._sums = sums
        self._flat = sums.reshape(-1, 3)

    def resized(self, height: int, width: int) -> NDArray[np.float32]:
        """The whole picture, ``(height, width, 3)`` float32 0..255; each pixel is the mean of its area."""
        top, bottom = _area_edges(self.height, height)
        left, right = _area_edges(self.width, width)
        rows = self._sums[bottom] - self._sums[top]
        sums = np.take(rows, right, axis=1) - np.take(rows, left, axis=1)
        per_row, per_col = 1.0 / (bottom - top), 1.0 / (right - left)
        area = (per_row[:, None] * per_col[None]).astype(np.float32)
        level: NDArray[np.float32] = sums.astype(np.float32)
        level *= area[..., None]
        return level

    def crops(self, frames: NDArray[np.int64], size_px: int) -> NDArray[np.float32]:
        """Windows ``(n, 4)`` (left, top, right, bottom, end excluded), each as ``(size, size, 3)``; empty is black."""
        left, right = _window_edges(frames[:, 0], frames[:, 2], size_px)
        top, bottom = _window_edges(frames[:, 1], frames[:, 3], size_px)
        stride = self.width + 1
        flat = self._flat
        upper, lower = (top * stride)[:, :, None], (bottom * stride)[:, :, None]
        sums = flat[lower + right[:, None]]
        sums -= flat[lower + left[:, None]]
        sums -= flat[upper + right[:, None]]
        sums += flat[upper + left[:, None]]
        area = (bottom - top)[:, :, None] * (right - left)[:, None]
        crops: NDArray[np.float32] = sums.astype(np.float32)
        crops /= np.maximum(area, 1).astype(np.float32)[..., None]
        return crops


def _area_edges(size: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each of ``wanted`` output pixels starts and ends in ``size`` input pixels; neighbours may share one."""
    steps = np.arange(wanted + 1, dtype=np.int64) * size
    return steps[:-1] // wanted, -(-steps[1:] // wanted)


def _window_edges(
    start: NDArray[np.int64], end: NDArray[np.int64], wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    size = np.maximum(end - start, 0)[:, None]
    start = np.where(end > start, start, 0)[:, None]
    steps = np.arange(wanted + 1, dtype=np.int64)[None] * size
    return start + steps[:, :-1] // wanted, start - (-steps[:, 1:] // wanted)


class FastCascade:
    """P-, R- and O-Net arranged for speed. `__call__` takes frames of any sizes."""

    def __init__(self, networks: tuple[ProposalNet, RefineNet, OutputNet]) -> None:
        p, r, o = networks
        self._p = _arranged(p.body, (16, 16, 32))
        assert p.face.bias is not None
        self._p_face = (p.face.weight[1] - p.face.weight[0]).flatten(), float(p.face.bias[1] - p.face.bias[0])
        self._p_offsets = p.offsets.weight.flatten(1), p.offsets.bias
        self._r_body, self._r = _arranged(r.body, (32, 48, 64)), r
        self._o_body, self._o = _arranged(o.body, (32, 64, 64, 128)), o

    def __call__(self, frames: Sequence[NDArray[np.uint8]], min_face_px: float) -> list[Found]:
        """Faces per frame: boxes ``(n, 4)``, confidences ``(n,)``, landmarks ``(n, 5, 2)``; best first."""
        with torch.inference_mode():
            return [self._one(frame, min_face_px) for frame in frames]

    def _one(self, rgb: NDArray[np.uint8], min_face_px: float) -> Found:
        picture = IntegralImage(rgb)
        boxes = self._propose(picture, min_face_px)
        return self.refine(picture, boxes)

    def refine(self, picture: IntegralImage, boxes: Boxes) -> Found:
        """R-Net and O-Net on square proposals."""
        offsets, face = self._refined(picture, boxes)
        passed = face > THRESHOLDS[1]
        boxes, face, offsets = boxes[passed], face[passed], offsets[passed]
        keep = suppress(boxes, face, np.zeros(len(boxes), int), 0.7)
        boxes = squared(moved(boxes[keep], offsets[keep], 1.0))
        offsets, face, points = self._judged(picture, boxes)
        passed = face > THRESHOLDS[2]
        return finish(boxes[passed], face[passed], offsets[passed], points[passed])

    def _propose(self, picture: IntegralImage, min_face_px: float) -> Boxes:
        found, scores = [], []
        for scale in pyramid_scales(picture.width, picture.height, min_face_px):
            level = picture.resized(int(picture.height * scale + 1), int(picture.width * scale + 1))
            rows, cols, score, offsets = self._windows_with_faces(level)
            cells = cell_boxes(rows, cols, scale)
            keep = suppress(cells, score, np.zeros(len(cells), int), 0.5)
            found.append(np.concatenate((cells[keep], offsets[keep]), 1))
            scores.append(score[keep])
        if not found:
            return np.zeros((0, 4), np.float32)
        proposals, score = np.concatenate(found), np.concatenate(scores)
        keep = suppress(proposals[:, :4], score, np.zeros(len(score), int), 0.7)
        return squared(moved(proposals[keep, :4], proposals[keep, 4:], 0.0))

    def _windows_with_faces(
        self, level: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Rows, columns, scores and box offsets where P-Net says face on one pyramid level."""
        height, width = level.shape[:2]
        answers = -(-(height - 2) // 2) - 4  # rows of windows
        step = max(4, _STRIP_PX // (STRIDE_PX * width))
        weight, bias = self._p_face
        least = float(np.log(THRESHOLDS[0] / (1 - THRESHOLDS[0]))) - bias
        picture = torch.from_numpy(level).permute(2, 0, 1)[None]
        parts = []
        for row in range(0, answers, step):
            last = min(answers, row + step)
            features = self._p(picture[:, :, STRIDE_PX * row : STRIDE_PX * last + CELL_PX - STRIDE_PX])
            sites = features[0].permute(1, 2, 0)  # (rows, columns, 32), contiguous
            logits = sites @ weight
            rows, cols = (logits >= least).nonzero(as_tuple=True)
            chosen = sites[rows, cols]
            offsets = functional.linear(chosen, *self._p_offsets)
            parts.append((rows + row, cols, (logits[rows, cols] + bias).sigmoid(), offsets))
        rows, cols, score, offsets = (torch.cat(part) for part in zip(*parts, strict=True))
        return rows.numpy(), cols.numpy(), score.numpy(), offsets.numpy()

    def _refined(self, picture: IntegralImage, boxes: Boxes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        offsets, face = np.zeros((len(boxes), 4), np.float32), np.zeros(len(boxes), np.float32)
        for chunk, crops in self._chunks(picture, boxes, 24, _R_CHUNK):
            x = self._r.dense(_flat(self._r_body(crops)))
            offsets[chunk], face[chunk] = self._r.offsets(x).numpy(), self._r.face(x).softmax(1)[:, 1].numpy()
        return offsets, face

    def _judged(
        self, picture: IntegralImage, boxes: Boxes
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        offsets, face = np.zeros((len(boxes), 4), np.float32), np.zeros(len(boxes), np.float32)
        points = np.zeros((len(boxes), 10), np.float32)
        for chunk, crops in self._chunks(picture, boxes, 48, _O_CHUNK):
            x = self._o.dense(_flat(self._o_body(crops)))
            offsets[chunk], face[chunk] = self._o.offsets(x).numpy(), self._o.face(x).softmax(1)[:, 1].numpy()
            points[chunk] = self._o.landmarks(x).numpy()
        return offsets, face, points

    @staticmethod
    def _chunks(picture: IntegralImage, boxes: Boxes, size_px: int, count: int) -> Iterator[tuple[slice, Tensor]]:
        inside = windows(boxes, picture.width, picture.height)
        for start in range(0, len(boxes), count):
            chunk = slice(start, start + count)
            crops = torch.from_numpy(picture.crops(inside[chunk], size_px)).permute(0, 3, 1, 2)
            yield chunk, crops


def _flat(x: Tensor) -> Tensor:
    return x.permute(0, 3, 2, 1).flatten(1)


def _arranged(body: nn.Sequential, widths: Sequence[int]) -> nn.Sequential:
    """The same convolutions for channels-last input of 0..255, with zero channels added up to ``widths``.

    The last width must be the layer's own, so that what follows sees the same features.
    """
    layers: list[nn.Module] = []
    wide_in, remaining = 3, list(widths)
    for layer in body:
        if isinstance(layer, nn.Conv2d):
            wide_in, layer = remaining[0], _wider(layer, wide_in, remaining[0], first=not layers)
        elif isinstance(layer, nn.PReLU):
            slopes = torch.zeros(remaining[0])
            slopes[: layer.num_parameters] = layer.weight
            layer = nn.PReLU(remaining.pop(0))
            layer.weight = nn.Parameter(slopes, requires_grad=False)
        layers.append(layer)
    return nn.Sequential(*layers).to(memory_format=torch.channels_last).eval().requires_grad_(False)  # type: ignore[call-overload,no-any-return]


def _wider(layer: nn.Conv2d, wide_in: int, wide_out: int, *, first: bool) -> nn.Conv2d:
    weight = torch.zeros(wide_out, wide_in, *layer.kernel_size)
    bias = torch.zeros(wide_out)
    weight[: layer.out_channels, : layer.in_channels] = layer.weight
    assert layer.bias is not None
    bias[: layer.out_channels] = layer.bias
    if first:  # take 0..255 instead of (x - 127.5) / 128
        weight = weight / 128.0
        bias = bias - 127.5 * weight.sum((1, 2, 3))
    wide = nn.Conv2d(wide_in, wide_out, layer.kernel_size)  # type: ignore[arg-type]
    wide.weight, wide.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
    return wide
