"""A batch that goes through the network in parts, with the gradient of the whole.

A contrast compares all items of a batch, so the mean of the parts' losses is another loss. Here all parts are answered
first, the loss is that of the whole, and each part's share of its gradient goes back through the part (GradCache: Gao
et al., RepL4NLP 2021). Parts may be answered one after the other, side by side, or by several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from maeum.training.cpu.replicas import Replicas
from maeum.training.objective import Objective, Said
from maeum.training.processes import Processes
from maeum.types import Batch, ModelOutput

#: What a `ModelOutput` holds beside its logits.
_TABLES = ("modality_logits", "present", "features", "auxiliary")


def backward(
    objective: Objective,
    replicas: Replicas,
    batch: Batch,
    parts: int,
    seed: int,
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    processes: Processes | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Gradients of the whole batch's loss in the parameters of the model, added to what is there.

    Each part has a random state of its own, so the same parts draw the same whoever answers them. Batch norms see each
    part's own statistics; their running ones, as all buffers, are then the mean of what they would be after each part.

    Args:
        objective: the loss.
        replicas: of the model, which is in training mode; they share the parts of a process.
        batch: with targets.
        parts: in how many it is cut, of like size; as many processes share them.
        seed: of what is drawn.
        precision: context in which the network computes.
        processes: who answers; part i is answered by process ``i % world``.

    Returns:
        The loss, and what it is made of.
    """
    processes, model = processes or Processes(), replicas.networks[0]
    pieces = split(batch, parts)
    mine = range(processes.rank, len(pieces), processes.world)

    replicas.clear()
    before = _buffers(model)
    at_once = len(mine) <= len(replicas)  # then what they compute can be kept until the gradient is known

    def answer(network: nn.Module, number: int) -> Said:
        _put(network, before)
        with precision(), replicas.drawing(seed * 1_000_003 + number):
            return objective.answer(network, pieces[number])

    def first(network: nn.Module, number: int) -> tuple[Said, Any]:
        with torch.set_grad_enabled(at_once):
            said = answer(network, number)
        return said, (_tables(_map(said, torch.Tensor.detach)), _buffers(network))

    answered = dict(zip(mine, replicas.run(first, mine), strict=True))
    torch.manual_seed(seed)  # the generator stands anywhere after `drawing`
    shown = {number: tables for number, (_, tables) in answered.items()}
    everybody = {number: one for answers in processes.gather(shown) for number, one in answers.items()}
    said = [_said(everybody[number][0]) for number in range(len(pieces))]
    whole = join(said, [len(piece) for piece in pieces])
    leaves = {name: tensor.requires_grad_() for name, tensor in _learned(whole).items()}
    with precision():
        loss, made_of = objective.loss(batch, whole)
    slopes = dict(
        zip(leaves, torch.autograd.grad(loss, list(leaves.values()), allow_unused=True), strict=True)
        if loss.requires_grad
        else ()
    )
    places = _places(said, [len(piece) for piece in pieces])

    def back(network: nn.Module, number: int) -> None:
        outputs, pulls = [], []
        for name, tensor in _learned(answered[number][0] if at_once else answer(network, number)).items():
            slope = slopes.get(name)
            if slope is not None and tensor.requires_grad:
                start = places[number][name]
                outputs.append(tensor)
                pulls.append(slope[start : start + len(tensor)])
        if outputs:
            torch.autograd.backward(outputs, pulls)

    replicas.run(back, mine)
    replicas.add()
    torch.manual_seed(seed)
    _put(model, _middle([everybody[number][1] for number in range(len(pieces))]))
    processes.add([p for p in model.parameters() if p.requires_grad])
    return loss.detach(), made_of


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.named_buffers()}


@torch.no_grad()
def _put(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    for name, tensor in model.named_buffers():
        tensor.copy_(kept[name])


def _middle(kept: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Means of running statistics; what counts (steps) is the same after every part."""
    return {
        name: torch.stack([one[name] for one in kept]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in kept[0].items()
    }


def split(batch: Batch, parts: int) -> list[Batch]:
    """Batches of like size, in their order, padded as the whole is; at most as many as there are items."""
    parts = min(parts, len(batch))
    edges = [round(i * len(batch) / parts) for i in range(parts + 1)]
    views = [0] * (parts + 1)
    if batch.has_view is not None:
        views = [int(batch.has_view[:edge].sum()) for edge in edges]
    return [
        _rows(batch, edges[i], edges[i + 1], (views[i], views[i + 1]) if batch.view is not None else None)
        for i in range(parts)
    ]


def _rows(batch: Batch, start: int, end: int, views: tuple[int, int] | None = None) -> Batch:
    tensors: dict[str, Any] = {
        f.name: value[start:end] for f in fields(batch) if isinstance(value := getattr(batch, f.name), Tensor)
    }
    view = None
    if views is not None and views[0] < views[1] and batch.view is not None:
        view = _rows(batch.view, *views)
    return replace(batch, ids=batch.ids[start:end], view=view, **tensors)


def join(said: Sequence[Said], sizes: Sequence[int]) -> Said:
    """What was said of the parts, as of the whole; sizes: of each part."""
    output = _joined([s.output for s in said], sizes)
    assert output is not None
    views = [s.view for s in said if s.view is not None]
    taught = [s.taught for s in said if s.taught is not None]
    return Said(output, _joined(views, [len(t.logits) for t in views]), _joined(taught, sizes))


def _joined(outputs: Sequence[ModelOutput], sizes: Sequence[int]) -> ModelOutput | None:
    if not outputs:
        return None

    def of(name: str) -> dict[Any, Tensor]:
        tables: list[Mapping[Any, Tensor]] = [getattr(output, name) for output in outputs]
        keys = dict.fromkeys(key for table in tables for key in table)
        return {key: _rows_of([table.get(key) for table in tables], sizes) for key in keys}

    return ModelOutput(torch.cat([output.logits for output in outputs]), **{name: of(name) for name in _TABLES})


def _rows_of(tensors: Sequence[Tensor | None], sizes: Sequence[int]) -> Tensor:
    """One below the other; a part without them has zeros where there is a row an item, else nothing."""
    known = [(t, size) for t, size in zip(tensors, sizes, strict=True) if t is not None]
    by_item = all(len(t) == size for t, size in known)
    like = known[0][0]
    return torch.cat(
        [
            t if t is not None else like.new_zeros((size if by_item else 0, *like.shape[1:]))
            for t, size in zip(tensors, sizes, strict=True)
        ]
    )


def _places(said: Sequence[Said], sizes: Sequence[int]) -> list[dict[str, int]]:
    """Of each part, at which row of the whole its tensors begin, by `_learned`'s names."""
    learned = [_learned(s) for s in said]
    places: list[dict[str, int]] = [{} for _ in said]
    for name in dict.fromkeys(name for found in learned for name in found):
        items = [len(s.view.logits) if s.view is not None else 0 for s in said] if name.startswith("view.") else sizes
        by_item = all(len(found[name]) == count for found, count in zip(learned, items, strict=True) if name in found)
        row = 0
        for place, found, count in zip(places, learned, items, strict=True):
            place[name] = row
            row += len(found[name]) if name in found else count if by_item else 0
    return places


def _learned(said: Said) -> dict[str, Tensor]:
    """What of an answer a loss may depend on, by name."""
    found: dict[str, Tensor] = {}
    for side, output in (("output", said.output), ("view", said.view)):
        if output is not None:
            found[f"{side}.logits"] = output.logits
            for name in _TABLES:
                floats = {key: t for key, t in getattr(output, name).items() if t.is_floating_point()}
                found.update({f"{side}.{name}.{key}": tensor for key, tensor in floats.items()})
    return found


def _map(said: Said, change: Callable[[Tensor], Tensor]) -> Said:
    def changed(output: ModelOutput) -> ModelOutput:
        tables = {name: {key: change(t) for key, t in getattr(output, name).items()} for name in _TABLES}
        return ModelOutput(change(output.logits), **tables)

    view, taught = (None if output is None else changed(output) for output in (said.view, said.taught))
    return Said(changed(said.output), view, taught)


def _tables(said: Said) -> list[dict[str, Any] | None]:
    """As plain tables, which can be sent to other processes."""
    return [None if output is None else dict(vars(output)) for output in (said.output, said.view, said.taught)]


def _said(tables: Sequence[dict[str, Any] | None]) -> Said:
    output, view, taught = (None if table is None else ModelOutput(**table) for table in tables)
    assert output is not None
    return Said(output, view, taught)
