"""The sparse operators in C++ (``native/sparse.cpp``), for fp32 and, where the processor multiplies it, bf16."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maeum.native import library
from maeum.sparse.ops import AttentionWeights, ConvNorm, PortableOps, running

#: Channels are padded with zeros to whole vectors.
_LANES = 16
#: Pairs of active neighbours, of 36, from which a tile of 2x2 is the quicker way, by bf16 (docs/results/mesm-speed.md).
_TILE_FROM = {False: 20, True: 22}

_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float


class _Conv(ctypes.Structure):
    """A convolution; see the source."""

    _fields_ = (
        ("index", _POINTER),
        *((name, _INT) for name in ("n", "height", "width")),
        *((name, _POINTER) for name in ("rows", "near", "tiled", "bias", "out", "placed", "tiles", "sites")),
        *((name, _INT) for name in ("tile_count", "site_count", "channels_in", "channels_out", "relu", "threads")),
    )


class _Attention(ctypes.Structure):
    """The attention over maps; see the source."""

    _fields_ = (
        *((name, _POINTER) for name in ("maps", "mask", "weights", "asked", "w", "probs")),
        *((name, _INT) for name in ("n", "positions", "channels", "hidden", "threads")),
    )


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled functions with their types; None where they cannot be had."""
    lib = library("sparse")
    if lib is None:
        return None
    lib.maeum_plan.argtypes = (_POINTER, _INT, _INT, _INT, _INT, *[_POINTER] * 5)
    lib.maeum_pack.argtypes = (_POINTER, _POINTER, *[_INT] * 6, _POINTER, _POINTER, _INT)
    lib.maeum_convolve.argtypes = lib.maeum_attend.argtypes = (_POINTER, _INT)
    lib.maeum_top_p.argtypes = (_POINTER, _POINTER, _INT, _INT, _FLOAT, _POINTER, _INT)
    lib.maeum_gather.argtypes = (_POINTER, _POINTER, _POINTER, _LONG, *[_INT] * 4, _POINTER, _INT)
    lib.maeum_clear.argtypes = (_POINTER, _LONG, _LONG, _POINTER, _INT)
    lib.maeum_pool.argtypes = (_POINTER, _POINTER, *[_INT] * 5, _POINTER, _POINTER, _INT)
    for name in ("plan", "pack", "convolve", "attend", "top_p", "gather", "clear", "pool"):
        getattr(lib, f"maeum_{name}").restype = None
    return lib


class _Plan(NamedTuple):
    """How a mask's positions are computed."""

    shape: tuple[int, int, int]  # n, height, width
    numbers: Tensor  # (n, height, width): the row of each active position, else -1
    rows: Tensor  # the position of each row
    tiles: Tensor
    sites: Tensor


class _Packed(NamedTuple):
    """A convolution's weights as the kernels want them."""

    state: tuple[object, ...]
    near: Tensor
    tiled: Tensor
    bias: Tensor | None


class NativeOps(PortableOps):
    """In C++, outside training. Weights are arranged once, and again when an operation of PyTorch has changed them."""

    name = "native"

    def __init__(self, lib: ctypes.CDLL) -> None:
        self._lib = lib
        self.has_bf16 = bool(lib.maeum_bf16())
        self._packed: WeakKeyDictionary[nn.Module, _Packed] = WeakKeyDictionary()

    def stem(self, maps: Tensor, first: ConvNorm, rest: Sequence[ConvNorm]) -> Tensor:
        """See `ReferenceOps.stem`."""
        bf16 = self._in_bf16(maps, layers=(first, *rest))
        if bf16 is None or not rest:
            return super().stem(maps, first, rest)
        conv, norm = first
        weight, bias = _folded(conv, norm)
        dtype = _dtype(bf16)
        maps = F.conv2d(maps.to(dtype), weight.to(dtype), bias.to(dtype), padding=conv.padding)
        maps = F.max_pool2d(maps.relu_(), 2)
        plan = self._plan(None, maps.shape, bf16)
        return _as_maps(self._layers(self._rows(maps, plan, None, bf16), plan, rest, bf16), plan, rest[-1][0])

    def attend(self, maps: Tensor, mask: Tensor, query: Tensor, weights: AttentionWeights) -> Tensor:
        """See `ReferenceOps.attend`."""
        bf16 = self._in_bf16(maps, query, *weights)
        if bf16 is None:
            return super().attend(maps, mask, query, weights)
        n, channels, height, width = maps.shape
        hidden, _ = weights.w_map.shape
        rows = _channels_last(maps)
        asked = F.linear(query, weights.w_query).float() + weights.bias.float()
        dtype, more, wider = _dtype(bf16), -channels % _LANES, -hidden % _LANES
        w_map = F.pad(weights.w_map.to(dtype), (0, more, 0, wider))
        if more or rows.dtype != dtype:
            rows = F.pad(rows.to(dtype), (0, more))
        asked, w = F.pad(asked, (0, wider)).contiguous(), F.pad(weights.w.float(), (0, wider)).contiguous()
        panel, per = self._lib.maeum_panel(), 2 if bf16 else 1
        packed = torch.cat([
            part.view(len(part), -1, per).transpose(0, 1).flatten() for part in torch.split(w_map, panel)
        ])  # fmt: skip
        mask, probs = mask.contiguous(), torch.empty(mask.shape)
        task = _Attention(rows.data_ptr(), mask.data_ptr(), packed.data_ptr(), asked.data_ptr(), w.data_ptr(),
                          probs.data_ptr(), n, height * width, channels + more, hidden + wider,
                          torch.get_num_threads())  # fmt: skip
        self._lib.maeum_attend(ctypes.byref(task), bf16)
        return probs

    def top_p(self, probs: Tensor, mask: Tensor, p: float) -> Tensor:
        """See `ReferenceOps.top_p`."""
        if p >= 1 or probs.dtype != torch.float32 or probs.device.type != "cpu" or torch.compiler.is_compiling():
            return super().top_p(probs, mask, p)
        probs, mask, keep = probs.detach().contiguous(), mask.contiguous(), torch.empty_like(mask)
        positions = mask.shape[1:].numel()
        self._lib.maeum_top_p(probs.data_ptr(), mask.data_ptr(), len(mask), positions, p, keep.data_ptr(),
                              torch.get_num_threads())  # fmt: skip
        return keep

    def conv_block(self, maps: Tensor, keep: Tensor, gate: Tensor | None, layers: Sequence[ConvNorm]) -> Tensor:
        """See `ReferenceOps.conv_block`."""
        bf16 = self._in_bf16(maps, *(() if gate is None else (gate,)), layers=layers)
        if bf16 is None:
            return super().conv_block(maps, keep, gate, layers)
        plan = self._plan(keep, maps.shape, bf16)
        return _as_maps(self._layers(self._rows(maps, plan, gate, bf16), plan, layers, bf16), plan, layers[-1][0])

    def max_pool(self, maps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """See `ReferenceOps.max_pool`."""
        bf16 = self._in_bf16(maps)
        n, channels, height, width = maps.shape
        if bf16 is None or channels % _LANES or bf16 != (maps.dtype == torch.bfloat16):
            return super().max_pool(maps, mask)
        rows, mask = _channels_last(maps), mask.contiguous()
        out = rows.new_empty(n, height // 2, width // 2, channels)
        pooled = mask.new_empty(n, height // 2, width // 2)
        self._lib.maeum_pool(rows.data_ptr(), mask.data_ptr(), n, height, width, channels, bf16, out.data_ptr(),
                             pooled.data_ptr(), torch.get_num_threads())  # fmt: skip
        return out.permute(0, 3, 1, 2), pooled

    def _in_bf16(self, maps: Tensor, *others: Tensor, layers: Sequence[ConvNorm] = ()) -> bool | None:
        """Whether to compute in bf16; None where these kernels cannot be used."""
        tensors = (maps, *others, *(p for layer in layers for module in layer for p in module.parameters()))
        wants_gradient = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        training = any(norm.training for _, norm in layers)
        if maps.device.type != "cpu" or wants_gradient or training or torch.compiler.is_compiling():
            return None
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else maps.dtype
        if dtype == torch.float32 and maps.dtype == torch.float32:
            return False
        usable = dtype == torch.bfloat16 and maps.dtype in (torch.float32, torch.bfloat16) and self.has_bf16
        return True if usable else None

    def _plan(self, mask: Tensor | None, shape: Sequence[int], bf16: bool) -> _Plan:
        """For the active positions of ``mask``; None: all of maps of this shape ``(n, channels, h, w)``."""
        n, _, height, width = shape
        mask = None if mask is None else mask.contiguous()
        index, rows, sites = torch.empty(3, n * height * width, dtype=torch.int32).unbind()
        tiles = torch.empty(n * -(-height // 2) * -(-width // 2), dtype=torch.int32)
        counts = torch.empty(3, dtype=torch.int32)
        pointers = (t.data_ptr() for t in (index, rows, tiles, sites, counts))
        given = None if mask is None else mask.data_ptr()
        self._lib.maeum_plan(given, n, height, width, _TILE_FROM[bf16], *pointers)
        row_count, tile_count, site_count = counts.tolist()
        return _Plan((n, height, width), index, rows[:row_count], tiles[:tile_count], sites[:site_count])

    def _rows(self, maps: Tensor, plan: _Plan, gate: Tensor | None, bf16: bool) -> Tensor:
        """Features of the active positions, ``(rows, padded channels)``."""
        values, channels = _channels_last(maps), maps.shape[1]
        gate = None if gate is None else gate.float().contiguous()
        rows = torch.empty(len(plan.rows), channels + -channels % _LANES, dtype=_dtype(bf16))
        self._lib.maeum_gather(
            values.data_ptr(), plan.rows.data_ptr(), None if gate is None else gate.data_ptr(), len(rows), channels,
            rows.shape[1], values.dtype == torch.bfloat16, bf16, rows.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return rows

    def _layers(self, rows: Tensor, plan: _Plan, layers: Sequence[ConvNorm], bf16: bool) -> Tensor:
        """Rows through all layers, the last one's placed in maps ``(n, height, width, padded channels)``."""
        positions = torch.arange(len(plan.numbers), dtype=torch.int32)
        for number, (conv, norm) in enumerate(layers):
            last = number == len(layers) - 1
            out_channels = conv.out_channels + -conv.out_channels % _LANES
            out = rows.new_empty(len(plan.numbers) if last else len(rows), out_channels)
            packed = self._pack(conv, norm, bf16)
            threads = torch.get_num_threads()
            if last:
                self._lib.maeum_clear(plan.numbers.data_ptr(), len(plan.numbers), out_channels * out.element_size(),
                                      out.data_ptr(), threads)  # fmt: skip
            task = _Conv(
                plan.numbers.data_ptr(), *plan.shape, rows.data_ptr(), packed.near.data_ptr(), packed.tiled.data_ptr(),
                None if packed.bias is None else packed.bias.data_ptr(), out.data_ptr(),
                positions.data_ptr() if last else None, plan.tiles.data_ptr(), plan.sites.data_ptr(),
                len(plan.tiles), len(plan.sites), rows.shape[1], out_channels, 1, threads,
            )  # fmt: skip
            self._lib.maeum_convolve(ctypes.byref(task), bf16)
            rows = out
        return rows

    def _pack(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, bf16: bool) -> _Packed:
        """Weights with the norm folded in; kept until one of them changes."""
        parts = [t for t in (conv.weight, conv.bias, norm.weight, norm.bias, *running(norm)) if t is not None]
        state = (bf16, norm.eps, *((t.data_ptr(), t._version) for t in parts if not t.is_inference()))
        old = self._packed.get(conv)
        if old is not None and old.state == state and len(state) == len(parts) + 2:
            return old
        scale, bias = _scale_and_bias(conv, norm)
        out, in_ = conv.weight.shape[:2]
        more_in, more_out = in_ + -in_ % _LANES, out + -out % _LANES
        weight = conv.weight.detach().float().contiguous()
        near = torch.empty(9 * more_in * more_out, dtype=_dtype(bf16))
        tiled = torch.empty(16 * more_in * more_out, dtype=_dtype(bf16))
        self._lib.maeum_pack(
            weight.data_ptr(), scale.data_ptr(), in_, out, more_in, more_out, 0, bf16, near.data_ptr(),
            tiled.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        made = _Packed(state, near, tiled, F.pad(bias, (0, more_out - out)).contiguous())
        self._packed[conv] = made
        return made


def _dtype(bf16: bool) -> torch.dtype:
    return torch.bfloat16 if bf16 else torch.float32


def _channels_last(maps: Tensor) -> Tensor:
    """``(n, channels, h, w)`` -> ``(n, h, w, channels)``, lying so in memory."""
    return maps.permute(0, 2, 3, 1).contiguous()


def _as_maps(rows: Tensor, plan: _Plan, conv: nn.Conv2d) -> Tensor:
    """Padded rows ``(n h w, channels)`` -> maps ``(n, channels, h, w)``."""
    return rows.view(*plan.shape, -1)[..., : conv.out_channels].permute(0, 3, 1, 2)


def _scale_and_bias(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What each output channel of ``conv`` is multiplied by, and what is added, in place of the norm; fp32."""
    mean, var = (t.float() for t in running(norm))
    scale = norm.weight.detach().float() * (var + norm.eps).rsqrt()
    bias = norm.bias.detach().float() - mean * scale
    return scale, bias if conv.bias is None else bias + conv.bias.detach().float() * scale


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    scale, bias = _scale_and_bias(conv, norm)
    weight = conv.weight.detach().float() * scale.view(-1, 1, 1, 1)
    return weight.contiguous(memory_format=torch.channels_last), bias
