"""The times at which frames are sampled: one after the other, and whether one lies in a stretch."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

#: A time this close to a grid's end counts as the end.
_END_S = 1e-9


class SampleTimes(Protocol):
    """Times in seconds, ascending."""

    def __iter__(self) -> Iterator[float]: ...

    def any_within(self, start_s: float, end_s: float) -> bool:
        """Whether one of them is in ``start_s <= time <= end_s``."""
        ...


@dataclass(frozen=True)
class GridTimes:
    """``start_s``, ``start_s + every_s``, ... before ``end_s``."""

    start_s: float
    every_s: float
    end_s: float

    def __iter__(self) -> Iterator[float]:
        """All of them; without end when ``end_s`` is infinite."""
        grid = (self.start_s + k * self.every_s for k in itertools.count())
        return itertools.takewhile(lambda time_s: time_s < self.end_s - _END_S, grid)

    def any_within(self, start_s: float, end_s: float) -> bool:
        """See `SampleTimes`."""
        first = max(0, math.ceil((start_s - self.start_s) / self.every_s))
        time_s = self.start_s + first * self.every_s
        return time_s <= end_s and time_s < self.end_s - _END_S


@dataclass(frozen=True)
class ListedTimes:
    """Any times, ascending."""

    times_s: Sequence[float]

    def __iter__(self) -> Iterator[float]:
        """All of them."""
        return iter(self.times_s)

    def any_within(self, start_s: float, end_s: float) -> bool:
        """See `SampleTimes`."""
        place = bisect.bisect_left(self.times_s, start_s)
        return place < len(self.times_s) and self.times_s[place] <= end_s
