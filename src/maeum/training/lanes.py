"""Parts of a batch that a processor computes side by side, each in a thread of its own (`benchmarks/mmer.py`).

Threads that share every operation wait for each other behind every one of them. In lanes, each thread takes its own
part through the whole network, and they meet twice in a step.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Item = TypeVar("Item")
Result = TypeVar("Result")


class Lanes:
    """Threads that hold the same network: parameters in the same memory, gradients and buffers of their own.

    Args:
        model: the first lane's network, which has answered nothing yet, where it shall be trained.
        count: how many lanes; one is the calling thread itself.
    """

    def __init__(self, model: nn.Module, count: int = 1) -> None:
        self.networks = [model, *(_sharing(model) for _ in range(count - 1))]
        self._threads = ThreadPoolExecutor(count, "lane") if count > 1 else None

    def __len__(self) -> int:
        return len(self.networks)

    def run(self, do: Callable[[nn.Module, Item], Result], items: Sequence[Item]) -> list[Result]:
        """``do(network, item)`` of every item, in their order; item i in lane ``i % len(lanes)``.

        Torch's threads are shared out evenly. Raises whatever the first item does that fails, when all lanes are done.
        """
        if self._threads is None:
            return [do(self.networks[0], item) for item in items]
        together = torch.get_num_threads()
        own = max(1, together // len(self))

        def work(lane: int) -> list[Result]:
            torch.set_num_threads(own)
            return [do(self.networks[lane], item) for item in items[lane :: len(self)]]

        for network in self.networks[1:]:
            for ours, theirs in zip(network.modules(), self.networks[0].modules(), strict=True):
                ours.training = theirs.training
        tasks = [self._threads.submit(work, lane) for lane in range(min(len(self), len(items)))]
        wait(tasks)
        torch.set_num_threads(together)  # threads that begin later take the number that was set last
        lanes = [task.result() for task in tasks]
        return [lanes[i % len(self)][i // len(self)] for i in range(len(items))]

    def drawing(self, seed: int) -> AbstractContextManager[Any]:
        """While it is entered, an item's draws are those that follow on ``torch.manual_seed(seed)``.

        More than one lane's have to be on the processor, and the state of torch's generator is unsettled afterwards.
        """
        if self._threads is not None:
            return Drawn(seed)
        torch.manual_seed(seed)
        return nullcontext()

    @torch.no_grad()
    def add(self) -> None:
        """Sum the gradients of all lanes, in their order, into the first one's."""
        for parameter, *others in zip(*(network.parameters() for network in self.networks), strict=True):
            for other in others:
                if other.grad is None:
                    continue
                if parameter.grad is None:
                    parameter.grad = other.grad
                else:
                    parameter.grad += other.grad
                other.grad = None


class Drawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What operations draw on the processor comes from a state of its own, whatever other threads draw meanwhile.

    The numbers are those that follow on ``torch.manual_seed(seed)``.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.state = torch.Generator().manual_seed(seed).get_state()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        with _DRAWING:
            torch.set_rng_state(self.state)
            drawn = func(*args, **(kwargs or {}))
            self.state = torch.get_rng_state()
        return drawn


#: Who holds it has torch's generator.
_DRAWING = threading.Lock()


def _sharing(model: nn.Module) -> nn.Module:
    """A copy with the same values in the same memory as parameters, and copies of the buffers."""
    shared: dict[int, Tensor] = {
        id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()
    }
    return copy.deepcopy(model, dict(shared))
