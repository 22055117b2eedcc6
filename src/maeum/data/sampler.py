"""Which items make a batch: seeded, resumable, of like length, of balanced classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from maeum.errors import ConfigError


class BucketSampler(Sampler[list[int]]):
    """Batches of indices. The batches of an epoch depend on seed and epoch alone, so a run resumes where it stopped.

    Args:
        lengths: cost of each item; batches are cut from pools of ``pool`` batches sorted by it: little is padded.
        batch_size: items in a batch.
        seed: another seed, another order.
        classes: class of each item, for ``balance``.
        balance: 0 draws each item once an epoch. Above 0 items are drawn with replacement, a class with
            probability proportional to ``count ** (1 - balance)``: 1 makes all classes equally frequent.
        shuffle: False gives the items in order of their length; for evaluation.
        drop_last: leave out a last batch that is not full.
        pool: batches that are sorted together; 1 turns bucketing off.
    """

    def __init__(
        self,
        lengths: Sequence[float],
        batch_size: int,
        seed: int = 0,
        classes: Sequence[int] | None = None,
        balance: float = 0.0,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
        pool: int = 32,
    ) -> None:
        if batch_size < 1 or pool < 1:
            raise ConfigError(f"batch_size {batch_size}, pool {pool} cannot be used")
        if not 0 <= balance <= 1:
            raise ConfigError(f"balance = {balance} is outside 0..1")
        if balance and (classes is None or len(classes) != len(lengths)):
            raise ConfigError("balance needs the class of every item")
        if not len(lengths):
            raise ConfigError("there are no items to draw")
        self._lengths = np.asarray(lengths, np.float64)
        self._weights = _weights(np.asarray(classes), balance) if balance else None
        self.batch_size, self.seed, self.shuffle, self.drop_last = batch_size, seed, shuffle, drop_last
        self.pool = pool
        self.epoch = 0
        self.position = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        count = len(self._lengths)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the current epoch; afterwards the next epoch is current."""
        batches = self.batches(self.epoch)
        while self.position < len(batches):
            self.position += 1
            yield batches[self.position - 1]
        self.epoch, self.position = self.epoch + 1, 0

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        count, size = len(self._lengths), self.batch_size
        rng = np.random.default_rng([self.seed, epoch])
        if not self.shuffle:
            order = np.argsort(self._lengths, kind="stable")
        elif self._weights is not None:
            order = rng.choice(count, count, p=self._weights)
        else:
            order = rng.permutation(count)
        if self.shuffle and self.pool > 1:
            span = self.pool * size
            pools = [order[i : i + span] for i in range(0, count, span)]
            order = np.concatenate([p[np.argsort(self._lengths[p], kind="stable")] for p in pools])
        cut = [order[i : i + size].tolist() for i in range(0, count, size)]
        if self.drop_last and len(cut[-1]) < size:
            cut.pop()
        return [cut[i] for i in rng.permutation(len(cut))] if self.shuffle else cut

    def state_dict(self, position: int | None = None) -> dict[str, Any]:
        """Where we are.

        Args:
            position: batches of this epoch that were really used. A loader with workers fetches ahead, so
                the sampler's own count, taken when None, is then too high.
        """
        return {"epoch": self.epoch, "position": self.position if position is None else position, "seed": self.seed,
                "items": len(self._lengths), "batch_size": self.batch_size}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was taken; raises ConfigError when items, batch size or seed differ."""
        here = self.state_dict()
        for name in ("seed", "items", "batch_size"):
            if state[name] != here[name]:
                raise ConfigError(f"cannot resume: {name} was {state[name]}, is {here[name]}")
        self.epoch, self.position = int(state["epoch"]), int(state["position"])


def _weights(classes: NDArray[np.int64], balance: float) -> NDArray[np.float64]:
    _, which, counts = np.unique(classes, return_inverse=True, return_counts=True)
    weights = counts[which].astype(np.float64) ** -balance
    return np.asarray(weights / weights.sum())
