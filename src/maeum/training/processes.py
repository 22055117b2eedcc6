"""Processes that train one network together, as `torchrun` starts them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from maeum.errors import ConfigError

#: The others wait while the first process evaluates and calibrates.
_PATIENCE = timedelta(hours=12)


class Processes:
    """One of several processes that hold the same network and share each batch. Alone, nothing is to be done.

    rank: its number, 0 writes and reports. world: how many they are.
    """

    rank = 0
    world = 1

    def gather(self, own: Any) -> list[Any]:
        """What every process holds, in the order of their numbers."""
        return [own]

    def add(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients over all processes."""

    def wait(self) -> None:
        """Until all are here."""

    @contextmanager
    def first_one(self) -> Iterator[None]:
        """Let the first process do something, and the others after it, who find what it wrote."""
        if self.rank:
            self.wait()
        yield
        if not self.rank:
            self.wait()


class Launched(Processes):
    """One of several processes that `torchrun` started; joins the others.

    Args:
        device: where it computes: ``cpu`` (gloo) or ``cuda`` (nccl, a device each).
    """

    def __init__(self, device: str) -> None:
        if not dist.is_initialized():
            # Else a restarted group may find the port of the one before it taken.
            os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
            dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=_PATIENCE)
            # Else its threads may still run while Python ends, which aborts the process now and then.
            atexit.register(dist.destroy_process_group)
        self.rank, self.world, self.device = dist.get_rank(), dist.get_world_size(), device

    def gather(self, own: Any) -> list[Any]:
        """See `Processes`."""
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, _moved(own, "cpu"))
        return [_moved(one, self.device) for one in found]

    def add(self, parameters: Sequence[nn.Parameter]) -> None:
        """See `Processes`; a parameter that got no gradient here may have got one elsewhere."""
        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=self.device)
        dist.all_reduce(has)
        reached = [p for p, count in zip(parameters, has.tolist(), strict=True) if count]
        together = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in reached])
        dist.all_reduce(together)
        sizes = [p.numel() for p in reached]
        for parameter, summed in zip(reached, torch.split(together, sizes), strict=True):
            parameter.grad = summed.view_as(parameter).clone()

    def wait(self) -> None:
        """See `Processes`."""
        dist.barrier()


def launched(device: str) -> tuple[Processes, str]:
    """The processes that this one belongs to, and its own device.

    Raises:
        ConfigError: when there are more processes than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(), device
    if device.startswith("cuda:"):
        raise ConfigError(f"all processes would use {device}", remedy="Use --device cuda: each takes its own.")
    if device == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ConfigError(f"process {local} has no GPU of its own, there are {torch.cuda.device_count()}",
                              remedy="Start as many processes as there are GPUs, or use --device cpu.")  # fmt: skip
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    return Launched(device), device


def _moved(held: Any, device: str) -> Any:
    move: Callable[[Any], Any] = lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf  # noqa: E731
    return tree_map(move, held)
