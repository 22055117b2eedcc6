"""Multiply-adds of a network of CNN branches (FE2E, MESM) on a batch, stage by stage: of all or selected positions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from maeum.sparse import reference
from maeum.types import MODALITIES, Batch


@dataclass(frozen=True)
class StageCost:
    """A stage of a branch.

    branch: faces, speech or text. stage: ``stem``, ``attention 1``, ``block 1`` ... ``projection``, ``sequence``,
    ``encoder`` (of text), ``head``. dense: multiply-adds when every position is computed, padding included, as dense
    convolutions do; an attention counts as 0. done: for the selected positions, whose convolutions count pairs of
    a position and a neighbour that are both selected. selected, positions: how many of how many positions are selected;
    0 where nothing selects.
    """

    branch: str
    stage: str
    dense: int
    done: int
    selected: int = 0
    positions: int = 0

    def __add__(self, other: StageCost) -> StageCost:
        """Of two batches."""
        return StageCost(
            self.branch,
            self.stage,
            self.dense + other.dense,
            self.done + other.done,
            self.selected + other.selected,
            self.positions + other.positions,
        )


def add_up(costs: Iterable[StageCost]) -> tuple[StageCost, ...]:
    """Costs of the same stage added, in the order in which stages come first."""
    found: dict[tuple[str, str], StageCost] = {}
    for cost in costs:
        key = cost.branch, cost.stage
        found[key] = found[key] + cost if key in found else cost
    return tuple(found.values())


def neighbour_pairs(mask: Tensor) -> int:
    """Pairs of an active position and an active position in the 3x3 around it, itself included; ``(n, h, w)`` bool."""
    around = F.avg_pool2d(mask.unsqueeze(1).float(), 3, 1, 1, divisor_override=1)[:, 0]
    return int(around[mask].double().sum().round())


@torch.no_grad()
def count(model: nn.Module, batch: Batch) -> tuple[StageCost, ...]:
    """What an answer about a batch costs, in the order of the stages.

    Multiply-adds of convolutions and matrix products; normalisation, pooling and activations are not counted. What lies
    outside the convolutions is counted by `torch.utils.flop_counter`, whose floating-point operations are two a
    multiply-add.

    Args:
        model: with ``encoders``, ``sequences`` and ``heads`` by modality, as `FE2E` has them; put into eval mode.
        batch: padding costs nothing in faces and speech, where only valid frames and mel chunks are encoded.
    """
    found: list[StageCost] = []

    def encoded(branch: str) -> Any:
        def hook(encoder: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
            selected = output[1] if isinstance(output, tuple) else None  # a sparse encoder gives its positions too
            found.extend(_encoder(branch, encoder, inputs[0], selected))

        return hook

    model.eval()
    encoders: Any = model.encoders
    maps = [m for m in ("faces", "speech") if m in encoders and hasattr(encoders[m], "stem")]
    hooks = [encoders[m].register_forward_hook(encoded(m)) for m in maps]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the counter does not know the fused form
    try:
        with FlopCounterMode(display=False) as counter:
            model(batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for hook in hooks:
            hook.remove()
    counts: dict[str, int] = defaultdict(int)
    for name, operations in counter.get_flop_counts().items():
        counts[name.partition(".")[2]] = sum(operations.values()) // 2
    for modality in MODALITIES:
        parts = [("sequence", f"sequences.{modality}"), ("head", f"heads.{modality}")]
        if modality not in maps:
            parts.insert(0, ("encoder", f"encoders.{modality}"))
        found += [StageCost(modality, stage, counts[name], counts[name]) for stage, name in parts if counts[name]]
    order = {branch: number for number, branch in enumerate(MODALITIES)}
    return tuple(sorted(add_up(found), key=lambda cost: order[cost.branch]))  # type: ignore[index]


def _encoder(branch: str, encoder: nn.Module, maps: Tensor, selected: list[Tensor] | None) -> Iterable[StageCost]:
    """Stages of a branch's CNN for maps ``(n, channels, h, w)``, in their order."""
    stem: Any = encoder.stem
    n, _, height, width = maps.shape
    (first, _), rest = stem.layers()
    positions = n * height * width
    cost = first.weight.numel() * positions
    positions //= 4
    cost += sum(conv.weight.numel() for conv, _ in rest) * positions
    yield StageCost(branch, "stem", cost, cost)
    blocks: Any = encoder.blocks
    active = maps.new_ones(n, height // 2, width // 2, dtype=torch.bool)
    for number, block in enumerate(blocks, start=1):
        weights = block.conv1.weight.numel() + block.conv2.weight.numel()
        dense = weights * positions
        if selected is None:
            yield StageCost(branch, f"block {number}", dense, dense)
        else:
            attention: Any = encoder.attention[number - 1]  # type: ignore[index]
            mask, channels = selected[number - 1], attention.map.weight.shape[0]
            scores = int(active.sum()) * (attention.map.weight.numel() + channels)
            yield StageCost(branch, f"attention {number}", 0, scores + n * attention.query.weight.numel())
            done = weights // 9 * neighbour_pairs(mask)
            yield StageCost(branch, f"block {number}", dense, done, int(mask.sum()), mask.numel())
            active = reference.sparse_max_pool2d(mask.unsqueeze(1).float(), mask)[1]
        positions //= 4
    project: Any = encoder.project
    linear = sum(layer.weight.numel() for layer in project if isinstance(layer, nn.Linear))
    yield StageCost(branch, "projection", linear * n, linear * n)


__all__ = ["StageCost", "add_up", "count", "neighbour_pairs"]
