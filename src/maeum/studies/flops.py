"""What a model's answers cost: multiply-adds by stage and time, on items of a prepared corpus."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from maeum.data.dataset import StoreDataset
from maeum.data.sampler import BucketSampler
from maeum.errors import ModelError
from maeum.models.counting import StageCost, add_up
from maeum.models.network import CountsOperations, Network, SelectsPositions
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.preparation.model_items import items_for
from maeum.runs.predict import collator
from maeum.types import Batch
from maeum.wording import counted


@dataclass(frozen=True)
class Cost:
    """What answers cost.

    items: how many were answered. stages: sums over them. milliseconds: of one answer, everything included.
    all_milliseconds: of one answer when every position is selected; None for a network that selects none.
    """

    model: str
    items: int
    stages: tuple[StageCost, ...]
    milliseconds: float
    all_milliseconds: float | None
    top_p: float | None

    @property
    def done(self) -> int:
        """Multiply-adds of all items."""
        return sum(stage.done for stage in self.stages)

    @property
    def dense(self) -> int:
        """Multiply-adds of all items if every position were computed densely."""
        return sum(stage.dense for stage in self.stages)

    def to_json(self) -> str:
        """As JSON; multiply-adds are sums over the items."""
        return json.dumps({**asdict(self), "done": self.done, "dense": self.dense}, indent=1)

    def show(self, console: Console) -> None:
        """Print a table: millions of multiply-adds of one answer, by stage."""
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("branch", "stage", "dense", "done", "share", "selected"):
            table.add_column(name, justify="left" if name in ("branch", "stage") else "right")
        for stage in self.stages:
            selected = f"{stage.selected / stage.positions:.1%}" if stage.positions else ""
            share = f"{stage.done / stage.dense:.1%}" if stage.dense else ""
            table.add_row(stage.branch, stage.stage, self._each(stage.dense), self._each(stage.done), share, selected)
        table.add_row("all", "", self._each(self.dense), self._each(self.done), f"{self.done / self.dense:.1%}", "")
        console.print(f"{self.model}: millions of multiply-adds of an answer, mean of {counted(self.items, 'item')}")
        console.print(table)
        console.print(f"an answer takes {self.milliseconds:.1f} ms")
        if self.all_milliseconds is not None:
            ratio = self.milliseconds / self.all_milliseconds
            console.print(f"  with every position selected {self.all_milliseconds:.1f} ms: {ratio:.2f} of that time")

    def _each(self, total: int) -> str:
        return f"{total / self.items / 1e6:,.2f}" if total else ""


def flops(
    model: str | Path | Pretrained | None,
    store: Path | str,
    part: str = "dev",
    *,
    items: int = 64,
    batch_size: int = 8,
    top_p: float | None = None,
    rounds: int = 3,
) -> Cost:
    """Count and time answers about the first items of a part.

    Args:
        model: its name or folder, None for the embedded one, or itself; FE2E or MESM.
        store: a prepared corpus.
        part: of it.
        items: at most so many.
        batch_size: items at once.
        top_p: attention mass that MESM selects; its own when None.
        rounds: of timing, of which the shortest counts.

    Raises:
        ModelError: for another network, or ``top_p`` for one that selects nothing.
        StoreError: when the store cannot be read.
    """
    pretrained = model if isinstance(model, Pretrained) else load_pretrained(model)
    return flops_of(
        pretrained, items_for(pretrained, store, part), items=items, batch_size=batch_size, top_p=top_p, rounds=rounds
    )


def flops_of(
    pretrained: Pretrained,
    dataset: StoreDataset,
    *,
    items: int = 64,
    batch_size: int = 8,
    top_p: float | None = None,
    rounds: int = 3,
) -> Cost:
    """The same of the first items of a dataset; see `flops`."""
    network = pretrained.model
    if not isinstance(network, CountsOperations):
        raise ModelError(f"its network {pretrained.kind} does not count its multiply-adds", item=pretrained.name,
                         remedy="Use a model of FE2E or MESM.")  # fmt: skip
    selective = network if isinstance(network, SelectsPositions) else None
    if top_p is not None and selective is None:
        raise ModelError("selects every position, so it has no top_p", item=pretrained.name)
    collate = collator(pretrained.tokenizer, pretrained.settings)
    cost = [n.cost for n in dataset.lengths[:items]]
    device = next(network.parameters()).device
    batches = [
        collate([dataset[i] for i in indices]).to(device)
        for indices in BucketSampler(cost, batch_size, shuffle=False).batches(0)
    ]
    network.eval()
    with torch.inference_mode(), _selecting(selective, top_p):
        stages = add_up(stage for batch in batches for stage in network.count_operations(batch))
        times = {"selected": float("inf"), "all": float("inf")}
        for _ in range(rounds):
            times["selected"] = min(times["selected"], _seconds(network, batches))
            if selective is not None:
                with _selecting(selective, 1.0):
                    times["all"] = min(times["all"], _seconds(network, batches))
    milliseconds = {name: 1000 * seconds / len(cost) for name, seconds in times.items()}
    return Cost(
        model=pretrained.name,
        items=len(cost),
        stages=stages,
        milliseconds=milliseconds["selected"],
        all_milliseconds=None if selective is None else milliseconds["all"],
        top_p=None if selective is None else selective.top_p if top_p is None else top_p,
    )


def _seconds(model: Network, batches: list[Batch]) -> float:
    start = time.perf_counter()
    for batch in batches:
        model(batch).logits.cpu()  # waits for the device
    return time.perf_counter() - start


@contextmanager
def _selecting(network: SelectsPositions | None, top_p: float | None) -> Iterator[None]:
    """Let a network select another attention mass for a while; None: its own."""
    if network is None or top_p is None:
        yield
        return
    before, network.top_p = network.top_p, top_p
    try:
        yield
    finally:
        network.top_p = before


__all__ = ["Cost", "flops", "flops_of"]
