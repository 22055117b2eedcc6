"""The functions of ``native/sparse.cpp`` over tensors. Each call leaves Python's lock, and may run in several threads.

Features are rows of channels, whole vectors of `LANES` each; `Plan` says which position each row belongs to.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.native import library

#: Channels are multiples of this, which are whole vectors on every processor.
LANES = 16
#: Pairs of active neighbours, of 36, from which a tile of 2x2 is the quicker way (docs/results/mesm-speed.md).
_TILE_FROM = 18
#: Buffers of at most so many bytes are cached for the next call.
_CACHED_BYTES = 64 << 20

_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float


def _fields(pointers: str, integers: str) -> list[tuple[str, type]]:
    return [*((name, _POINTER) for name in pointers.split()), *((name, _INT) for name in integers.split())]


class _Conv(ctypes.Structure):
    _fields_ = (*_fields("numbers", "n height width"), *_fields(
        "rows near tiled bias out placed tiles sites", "tile_count site_count channels_in channels_out relu threads"
    ))  # fmt: skip


class _Pack(ctypes.Structure):
    _fields_ = _fields("weights scale near tiled", "in_ out padded_in padded_out turned threads")


class _Gradient(ctypes.Structure):
    _fields_ = (*_fields("numbers", "n height width"), *_fields(
        "rows out tiles sites weights near tiled", "tile_count site_count channels_in channels_out threads"
    ))  # fmt: skip


class _First(ctypes.Structure):
    _fields_ = _fields("maps weights bias out", "n channels_in height width kernel channels_out threads")


class _Attention(ctypes.Structure):
    _fields_ = _fields("rows mask weights scale shift w probs", "n positions channels hidden threads")


class Plan(NamedTuple):
    """How a convolution over a mask ``(n, height, width)`` is computed."""

    shape: tuple[int, int, int]  # n, height, width
    numbers: Tensor  # (n height width,): the row of each active position, else -1
    positions: Tensor  # (rows,): the position of each row
    tiles: Tensor  # tiles of 2x2 that are computed as such
    sites: Tensor  # active positions of the other tiles


class Packed(NamedTuple):
    """A convolution's weights as the kernels want them."""

    near: Tensor  # by offset
    tiled: Tensor  # by value of a tile
    channels: tuple[int, int]  # in, out


class Kernels:
    """The compiled functions."""

    def __init__(self, lib: ctypes.CDLL) -> None:
        self._lib = lib
        self._local = threading.local()
        self.has_bf16 = bool(lib.maeum_bf16())
        self.panel = int(lib.maeum_panel())
        lib.maeum_plan.argtypes = (_POINTER, _INT, _INT, _INT, _INT, *[_POINTER] * 5)
        for function in (lib.maeum_pack, lib.maeum_convolve, lib.maeum_attend, lib.maeum_first):
            function.argtypes = (_POINTER, _INT)
        lib.maeum_gradient.argtypes = (_POINTER,)
        lib.maeum_top_p.argtypes = (_POINTER, _POINTER, _POINTER, _INT, _INT, _FLOAT, _POINTER, _INT)
        lib.maeum_gather.argtypes = (_POINTER, _POINTER, _POINTER, _LONG, *[_INT] * 4, _POINTER, _INT)
        lib.maeum_place.argtypes = (*[_POINTER] * 4, _LONG, *[_INT] * 3, _POINTER, _POINTER, _INT)
        lib.maeum_clear.argtypes = (_POINTER, _LONG, _LONG, _POINTER, _INT)
        lib.maeum_pool.argtypes = (_POINTER, _POINTER, *[_INT] * 5, _POINTER, _POINTER, _INT)
        lib.maeum_pool_back.argtypes = (_POINTER, _POINTER, _POINTER, *[_INT] * 5, _POINTER, _INT)
        for function in (lib.maeum_plan, lib.maeum_pack, lib.maeum_convolve, lib.maeum_gradient, lib.maeum_attend,
                         lib.maeum_top_p, lib.maeum_gather, lib.maeum_place, lib.maeum_clear, lib.maeum_pool,
                         lib.maeum_pool_back, lib.maeum_first):  # fmt: skip
            function.restype = None

    def buffer(self, slot: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A buffer of this thread's, whose content lasts until the slot is used again.

        The system would have to give and clear fresh memory of this size at every call.
        """
        count = torch.Size(shape).numel()
        if count * dtype.itemsize > _CACHED_BYTES:
            return torch.empty(shape, dtype=dtype)
        old: Tensor | None = getattr(self._local, slot, None)
        if old is None or old.numel() < count * dtype.itemsize:
            old = torch.empty(count * dtype.itemsize, dtype=torch.uint8)
            setattr(self._local, slot, old)
        return old[: count * dtype.itemsize].view(dtype).view(shape)

    def plan(self, mask: Tensor | None, shape: tuple[int, int, int]) -> Plan:
        """For the active positions of ``mask (n, height, width)``; None: all of this shape."""
        mask = None if mask is None else mask.contiguous()
        n, height, width = shape
        numbers, positions, sites = torch.empty(3, n * height * width, dtype=torch.int32).unbind()
        tiles = torch.empty(n * -(-height // 2) * -(-width // 2), dtype=torch.int32)
        counts = torch.empty(3, dtype=torch.int32)
        pointers = (t.data_ptr() for t in (numbers, positions, tiles, sites, counts))
        self._lib.maeum_plan(_at(mask), n, height, width, _TILE_FROM, *pointers)
        row_count, tile_count, site_count = counts.tolist()
        return Plan(shape, numbers, positions[:row_count], tiles[:tile_count], sites[:site_count])

    def pack(
        self, weight: Tensor, scale: Tensor | None, *, plan: Plan | None = None, turned: bool = False, bf16: bool
    ) -> Packed:
        """Weights ``(out, in, 3, 3)``, times ``scale (out,)``.

        Args:
            weight: fp32 or bf16.
            scale: fp32.
            plan: pack what it needs alone, to last until this thread packs again.
            turned: as the gradient of the input needs them.
            bf16: pack for rows in bf16.
        """
        out, in_ = weight.shape[:2]
        channels = (padded(out), padded(in_)) if turned else (padded(in_), padded(out))
        weight = weight.detach().float().contiguous()
        size = channels[0] * channels[1]
        dtype = row_dtype(bf16)
        if plan is None:
            near, tiled = torch.empty(9 * size, dtype=dtype), torch.empty(16 * size, dtype=dtype)
        else:
            near = self.buffer("near", (9 * size if len(plan.sites) else 0,), dtype)
            tiled = self.buffer("tiled", (16 * size if len(plan.tiles) else 0,), dtype)
        task = _Pack(
            weight.data_ptr(), _at(scale), _at(near), _at(tiled), in_, out, *channels,
            turned, torch.get_num_threads(),
        )  # fmt: skip
        self._lib.maeum_pack(ctypes.byref(task), bf16)
        return Packed(near, tiled, channels)

    def convolve(
        self, plan: Plan, rows: Tensor, packed: Packed, bias: Tensor | None, out: Tensor, *, relu: bool, dense: bool
    ) -> Tensor:
        """Convolve ``rows``, into the rows of ``out``, or where ``dense`` into its positions, zero where inactive."""
        threads = torch.get_num_threads()
        placed = None
        if dense:
            placed = torch.arange(len(plan.numbers), dtype=torch.int32)
            self._lib.maeum_clear(plan.numbers.data_ptr(), len(plan.numbers), out.shape[1] * out.element_size(),
                                  out.data_ptr(), threads)  # fmt: skip
        task = _Conv(
            plan.numbers.data_ptr(), *plan.shape, rows.data_ptr(), packed.near.data_ptr(), packed.tiled.data_ptr(),
            _at(bias), out.data_ptr(), _at(placed), plan.tiles.data_ptr(), plan.sites.data_ptr(), len(plan.tiles),
            len(plan.sites), *packed.channels, relu, threads,
        )  # fmt: skip
        self._lib.maeum_convolve(ctypes.byref(task), rows.dtype == torch.bfloat16)
        return out

    def pack_first(self, weight: Tensor, *, bf16: bool) -> Tensor:
        """Weights ``(out, in, k, k)`` as `first` wants them; ``out`` in whole vectors."""
        by_row = weight.permute(0, 2, 3, 1).flatten(2)  # (out, k, k in)
        per = 2 if bf16 else 1
        by_row = F.pad(by_row, (0, by_row.shape[2] % per)).to(row_dtype(bf16))
        by_row = by_row.view(*by_row.shape[:2], -1, per)
        return torch.cat([part.permute(1, 2, 0, 3).flatten() for part in torch.split(by_row, self.panel)])

    def first(self, maps: Tensor, packed: Tensor, bias: Tensor, kernel: int, out: Tensor) -> Tensor:
        """Convolution, ReLU and max-pool 2x2 of ``maps (n, in, h, w)``, fp32, into ``(n, h // 2, w // 2, out)``."""
        n, channels, height, width = maps.shape
        task = _First(maps.data_ptr(), packed.data_ptr(), bias.data_ptr(), out.data_ptr(), n, channels, height, width,
                      kernel, out.shape[-1], torch.get_num_threads())  # fmt: skip
        self._lib.maeum_first(ctypes.byref(task), out.dtype == torch.bfloat16)
        return out

    def gradient(self, plan: Plan, rows: Tensor, out: Tensor) -> Tensor:
        """The gradient of weights ``(out, in, 3, 3)``, by input ``rows`` and the gradient of the output; fp32."""
        rows, out = rows.float().contiguous(), out.float().contiguous()
        channels = rows.shape[1], out.shape[1]
        made = torch.empty(channels[1], channels[0], 3, 3)
        sums = self.buffer("gradient", (25, *channels), torch.float32)
        task = _Gradient(
            plan.numbers.data_ptr(), *plan.shape, rows.data_ptr(), out.data_ptr(), plan.tiles.data_ptr(),
            plan.sites.data_ptr(), made.data_ptr(), sums[:9].data_ptr(), sums[9:].data_ptr(), len(plan.tiles),
            len(plan.sites), *channels, torch.get_num_threads(),
        )  # fmt: skip
        self._lib.maeum_gradient(ctypes.byref(task))
        return made

    def attend(self, rows: Tensor, mask: Tensor, packed: Tensor, modulation: Tensor, w: Tensor) -> Tensor:
        """Attention's probabilities ``(n, h, w)``.

        Args:
            rows: ``(n, h, w, channels)``.
            mask: ``(n, h, w)`` bool.
            packed: weights ``(hidden, channels)`` in panels.
            modulation: scale and shift of the products of rows and weights, ``(2, n, hidden)``.
            w: ``(hidden,)``.
        """
        mask, probs = mask.contiguous(), torch.empty(mask.shape)
        task = _Attention(
            rows.data_ptr(), mask.data_ptr(), packed.data_ptr(), _at(modulation[0]), _at(modulation[1]), w.data_ptr(),
            probs.data_ptr(),
            len(mask), mask.shape[1:].numel(), rows.shape[-1], len(w), torch.get_num_threads(),
        )  # fmt: skip
        self._lib.maeum_attend(ctypes.byref(task), rows.dtype == torch.bfloat16)
        return probs

    def top_p(self, probs: Tensor, mask: Tensor, p: float, preference: Tensor | None) -> Tensor:
        """See `reference.top_p_mask`; fp32."""
        probs, mask, selected = probs.contiguous(), mask.contiguous(), torch.empty(mask.shape, dtype=torch.bool)
        if preference is not None:
            preference = preference.float().expand(mask.shape[1:]).contiguous()
        self._lib.maeum_top_p(probs.data_ptr(), mask.data_ptr(), _at(preference), len(mask), mask.shape[1:].numel(), p,
                              selected.data_ptr(), torch.get_num_threads())  # fmt: skip
        return selected

    def gather(self, values: Tensor, positions: Tensor, gate: Tensor | None, out: Tensor) -> Tensor:
        """Rows of ``values (all positions, channels)``, times their gates, into ``out (rows, padded channels)``."""
        self._lib.maeum_gather(
            values.data_ptr(), positions.data_ptr(), _at(gate), len(positions), values.shape[1], out.shape[1],
            values.dtype == torch.bfloat16, out.dtype == torch.bfloat16, out.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return out

    def place(self, rows: Tensor, plan: Plan, dtype: torch.dtype) -> Tensor:
        """Rows at their positions, ``(all positions, channels)``, zero elsewhere."""
        out = torch.empty(len(plan.numbers), rows.shape[1], dtype=dtype)
        self._place(rows, plan, None, None, out, None)
        return out

    def ungather(self, rows: Tensor, plan: Plan, gate: Tensor | None, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """The gradients of ``values`` and of ``gate`` in `gather`, by that of the rows."""
        out = torch.empty_like(values)
        of_gate = None if gate is None else torch.empty(len(values))
        self._place(rows, plan, gate, values, out, of_gate)
        return out, of_gate

    def _place(
        self, rows: Tensor, plan: Plan, gate: Tensor | None, values: Tensor | None, out: Tensor, of_gate: Tensor | None
    ) -> None:
        self._lib.maeum_place(
            rows.data_ptr(), plan.numbers.data_ptr(), _at(gate), _at(values), len(out), out.shape[1],
            rows.dtype == torch.bfloat16, out.dtype == torch.bfloat16, out.data_ptr(), _at(of_gate),
            torch.get_num_threads(),
        )  # fmt: skip

    def pool(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `reference.sparse_max_pool2d`; maps and result ``(n, h, w, channels)``."""
        n, height, width, channels = maps.shape
        out = maps.new_empty(n, height // 2, width // 2, channels)
        pooled = mask.new_empty(n, height // 2, width // 2)
        self._lib.maeum_pool(maps.data_ptr(), mask.data_ptr(), *maps.shape, maps.dtype == torch.bfloat16,
                             out.data_ptr(), pooled.data_ptr(), torch.get_num_threads())  # fmt: skip
        return out, pooled

    def unpool(self, maps: Tensor, mask: Tensor, gradient: Tensor) -> Tensor:
        """The gradient of ``maps`` in `pool`, by that of the result."""
        out = torch.empty_like(maps)
        self._lib.maeum_pool_back(maps.data_ptr(), mask.data_ptr(), gradient.data_ptr(), *maps.shape,
                                  maps.dtype == torch.bfloat16, out.data_ptr(), torch.get_num_threads())  # fmt: skip
        return out


@cache
def kernels() -> Kernels | None:
    """The compiled functions; None where they cannot be had."""
    lib = library("sparse")
    return None if lib is None else Kernels(lib)


def padded(channels: int) -> int:
    """Channels in whole vectors."""
    return channels + -channels % LANES


def row_dtype(bf16: bool) -> torch.dtype:
    """The type of rows and packed weights."""
    return torch.bfloat16 if bf16 else torch.float32


def _at(tensor: Tensor | None) -> int | None:
    """Where it lies; None for nothing."""
    return tensor.data_ptr() if tensor is not None and tensor.numel() else None
