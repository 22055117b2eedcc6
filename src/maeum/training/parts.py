"""A batch that goes through the network in parts, with the gradient of the whole.

A contrast compares all items of a batch, so the mean of the parts' losses is another loss. Here the outputs of all
parts are computed first, the loss is that of the whole, and each part's share of its gradient goes back through the
part (GradCache: Gao et al., RepL4NLP 2021). Parts are computed one after the other, or by several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from maeum.training.losses.base import BatchOutputs
from maeum.training.objective import Objective
from maeum.training.processes import Processes
from maeum.types import Batch, ModelOutput

#: What a `ModelOutput` holds beside its logits.
_TABLES = ("modality_logits", "present", "features", "auxiliary")


def backward(
    objective: Objective,
    model: nn.Module,
    batch: Batch,
    parts: int,
    seed: int,
    precision: Callable[[], AbstractContextManager[Any]] = nullcontext,
    processes: Processes | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """Add the gradients of the whole batch's loss to those of the model's parameters.

    Each part has a random state of its own, so the same parts draw the same in whichever process. Batch norms see each
    part's own statistics; their running ones, as all buffers, are then the mean of what they would be after each part.

    Args:
        objective: the loss.
        model: in training mode.
        batch: with targets.
        parts: in how many it is cut, of like size; as many processes share them.
        seed: of what is drawn.
        precision: context in which the network computes.
        processes: part i is computed by process ``i % world``.

    Returns:
        The loss, and what its losses say for the log.
    """
    processes = processes or Processes()
    part_batches = split(batch, parts)
    sizes = [len(part) for part in part_batches]
    mine = range(processes.rank, len(part_batches), processes.world)

    before = _buffers(model)
    single = len(mine) <= 1  # then its activations can be kept until the gradient is known

    def compute(number: int) -> BatchOutputs:
        _set_buffers(model, before)
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        with precision():
            return objective.outputs(model, part_batches[number])

    computed: dict[int, BatchOutputs] = {}
    shared: dict[int, tuple[Any, dict[str, Tensor]]] = {}
    for number in mine:
        with torch.set_grad_enabled(single):
            computed[number] = compute(number)
        shared[number] = _plain(_map(computed[number], torch.Tensor.detach)), _buffers(model)
    torch.manual_seed(seed)
    everywhere = {number: one for found in processes.gather(shared) for number, one in found.items()}
    outputs = [_from_plain(everywhere[number][0]) for number in range(len(part_batches))]
    whole = join(outputs, sizes)
    leaves = {name: tensor.requires_grad_() for name, tensor in _float_tensors(whole).items()}
    with precision():
        loss, log = objective.loss(batch, whole)
    gradients = dict(
        zip(leaves, torch.autograd.grad(loss, list(leaves.values()), allow_unused=True), strict=True)
        if loss.requires_grad
        else ()
    )
    first_rows = _first_rows(outputs, sizes)
    for number in mine:
        tensors, of_part = [], []
        for name, tensor in _float_tensors(computed[number] if single else compute(number)).items():
            gradient = gradients.get(name)
            if gradient is not None and tensor.requires_grad:
                start = first_rows[number][name]
                tensors.append(tensor)
                of_part.append(gradient[start : start + len(tensor)])
        if tensors:
            torch.autograd.backward(tensors, of_part)
    torch.manual_seed(seed)
    _set_buffers(model, _mean_buffers([everywhere[number][1] for number in range(len(part_batches))]))
    processes.add([p for p in model.parameters() if p.requires_grad])
    return loss.detach(), log


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.named_buffers()}


@torch.no_grad()
def _set_buffers(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    for name, tensor in model.named_buffers():
        tensor.copy_(values[name])


def _mean_buffers(after: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Means of running statistics; what counts steps is the same after every part."""
    return {
        name: torch.stack([one[name] for one in after]).mean(0) if tensor.is_floating_point() else tensor
        for name, tensor in after[0].items()
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


def join(parts: Sequence[BatchOutputs], sizes: Sequence[int]) -> BatchOutputs:
    """The outputs of parts as those of the whole; sizes: items of each part."""
    output = _joined([part.output for part in parts], sizes)
    assert output is not None
    views = [part.views for part in parts if part.views is not None]
    teacher = [part.teacher for part in parts if part.teacher is not None]
    return BatchOutputs(output, _joined(views, [len(view.logits) for view in views]), _joined(teacher, sizes))


def _joined(outputs: Sequence[ModelOutput], sizes: Sequence[int]) -> ModelOutput | None:
    if not outputs:
        return None

    def joined_table(name: str) -> dict[Any, Tensor]:
        tables: list[Mapping[Any, Tensor]] = [getattr(output, name) for output in outputs]
        keys = dict.fromkeys(key for table in tables for key in table)
        return {key: _joined_rows([table.get(key) for table in tables], sizes) for key in keys}

    logits = torch.cat([output.logits for output in outputs])
    return ModelOutput(logits, **{name: joined_table(name) for name in _TABLES})


def _joined_rows(tensors: Sequence[Tensor | None], sizes: Sequence[int]) -> Tensor:
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


def _first_rows(parts: Sequence[BatchOutputs], sizes: Sequence[int]) -> list[dict[str, int]]:
    """Of each part, at which row of the whole its tensors begin, by the names of `_float_tensors`."""
    tensors = [_float_tensors(part) for part in parts]
    first_rows: list[dict[str, int]] = [{} for _ in parts]
    view_sizes = [0 if part.views is None else len(part.views.logits) for part in parts]
    for name in dict.fromkeys(name for found in tensors for name in found):
        items = view_sizes if name.startswith("views.") else sizes
        by_item = all(len(found[name]) == count for found, count in zip(tensors, items, strict=True) if name in found)
        row = 0
        for firsts, found, count in zip(first_rows, tensors, items, strict=True):
            firsts[name] = row
            row += len(found[name]) if name in found else count if by_item else 0
    return first_rows


def _float_tensors(outputs: BatchOutputs) -> dict[str, Tensor]:
    """The tensors that a loss may depend on with a gradient, by name."""
    found: dict[str, Tensor] = {}
    for side, output in (("output", outputs.output), ("views", outputs.views)):
        if output is not None:
            found[f"{side}.logits"] = output.logits
            for name in _TABLES:
                floats = {key: t for key, t in getattr(output, name).items() if t.is_floating_point()}
                found.update({f"{side}.{name}.{key}": tensor for key, tensor in floats.items()})
    return found


def _map(outputs: BatchOutputs, change: Callable[[Tensor], Tensor]) -> BatchOutputs:
    def changed(output: ModelOutput) -> ModelOutput:
        tables = {name: {key: change(t) for key, t in getattr(output, name).items()} for name in _TABLES}
        return ModelOutput(change(output.logits), **tables)

    views, teacher = (None if output is None else changed(output) for output in (outputs.views, outputs.teacher))
    return BatchOutputs(changed(outputs.output), views, teacher)


def _plain(outputs: BatchOutputs) -> list[dict[str, Any] | None]:
    """As plain tables, which can be sent to other processes."""
    sides = (outputs.output, outputs.views, outputs.teacher)
    return [None if output is None else dict(vars(output)) for output in sides]


def _from_plain(tables: Sequence[dict[str, Any] | None]) -> BatchOutputs:
    output, views, teacher = (None if table is None else ModelOutput(**table) for table in tables)
    assert output is not None
    return BatchOutputs(output, views, teacher)
