"""Parts of a batch that a processor computes side by side, each in a thread of its own (`benchmarks/mmer.py`).

Threads that share every operation wait for each other behind every one of them. Here each takes its own part through
the whole network, and they meet twice in a step.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

Item = TypeVar("Item")
Result = TypeVar("Result")


class Replicas:
    """Copies of a network and a thread for each: their parameters lie in the same memory, gradients and buffers do not.

    The network has to be where it shall be trained, with parameters frozen that shall be. Of what changes later,
    replicas follow the values of parameters, and training or eval mode.

    Args:
        model: the first of them.
        count: how many there are, itself counted; with 1 the calling thread does all.
    """

    def __init__(self, model: nn.Module, count: int = 1) -> None:
        self.networks = [model, *(_sharing(model) for _ in range(count - 1))]
        self._threads = ThreadPoolExecutor(count, "replica") if count > 1 else None

    def __len__(self) -> int:
        return len(self.networks)

    def run(self, do: Callable[[nn.Module, Item], Result], items: Sequence[Item]) -> list[Result]:
        """``do(network, item)`` of every item, in their order; item i by replica ``i % len(replicas)``.

        Replicas that have items share torch's threads evenly. What fails in one of them is raised when all are done.
        """
        if self._threads is None:
            return [do(self.networks[0], item) for item in items]
        busy = min(len(self), len(items))
        together = torch.get_num_threads()
        for network in self.networks[1:]:
            for ours, theirs in zip(network.modules(), self.networks[0].modules(), strict=True):
                ours.training = theirs.training

        def work(replica: int) -> list[Result]:
            torch.set_num_threads(max(1, together // busy))
            return [do(self.networks[replica], item) for item in items[replica::busy]]

        tasks = [self._threads.submit(work, replica) for replica in range(busy)]
        try:
            wait(tasks)
        finally:  # nobody computes on after Ctrl-C
            wait(tasks)
            torch.set_num_threads(together)  # threads that begin later take the number that was set last
        results = [task.result() for task in tasks]
        return [results[i % busy][i // busy] for i in range(len(items))]

    def drawing(self, seed: int) -> AbstractContextManager[Any]:
        """While it is entered, an item's draws are those that follow on ``torch.manual_seed(seed)``.

        Several replicas have to draw on the processor. Torch's generator then stands anywhere afterwards.
        """
        if self._threads is not None:
            return Drawn(seed)
        torch.manual_seed(seed)
        return nullcontext()

    def clear(self) -> None:
        """Forget the gradients of all but the first, such as those that a failed step left."""
        for network in self.networks[1:]:
            network.zero_grad(set_to_none=True)

    @torch.no_grad()
    def add(self) -> None:
        """Sum the gradients of all, in their order, into those of the first."""
        for parameter, *others in zip(*(network.parameters() for network in self.networks), strict=True):
            for other in others:
                if parameter.grad is None:
                    parameter.grad = other.grad
                elif other.grad is not None:
                    parameter.grad += other.grad
                other.grad = None


class Drawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What operations draw on the processor comes from a state of its own, whatever other threads draw meanwhile.

    The numbers are those that follow on ``torch.manual_seed(seed)``.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.state = torch.Generator().manual_seed(seed).get_state()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch would load its compiler to keep away from it

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        if torch.Tag.nondeterministic_seeded not in func.tags or func is _ATTENTION:
            return func(*args, **(kwargs or {}))
        with _DRAWING:
            torch.set_rng_state(self.state)
            drawn = func(*args, **(kwargs or {}))
            self.state = torch.get_rng_state()
        return drawn


#: Held by the thread whose state torch's generator has.
_DRAWING = threading.Lock()
#: Tagged as one that draws, and has no dropout.
_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default


def _sharing(model: nn.Module) -> nn.Module:
    """A copy with the same values in the same memory as parameters, and copies of the buffers."""
    shared: dict[int, Any] = {
        id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in model.parameters()
    }
    return copy.deepcopy(model, shared)
