from __future__ import annotations

import itertools

import numpy as np
import pytest

from maeum.media.sample_times import GridTimes, ListedTimes


@pytest.mark.parametrize(
    "asked", [GridTimes(0.0, 0.5, 3.0), GridTimes(1.3, 0.07, 2.0), ListedTimes([0.1, 0.1, 0.9, 2.5])]
)
def test_any_within_is_what_going_through_them_says(asked):
    times = np.array(list(asked))
    for start, length in itertools.product(np.linspace(-1, 4, 83), (0.0, 0.03, 0.2, 1.0)):
        there = bool(((times >= start) & (times <= start + length)).any())
        assert asked.any_within(start, start + length) == there


def test_a_grid_ends_before_its_end_or_never():
    assert list(GridTimes(0.0, 0.5, 1.5)) == [0.0, 0.5, 1.0]
    assert list(itertools.islice(GridTimes(2.0, 0.25, float("inf")), 3)) == [2.0, 2.25, 2.5]
    assert GridTimes(2.0, 0.25, float("inf")).any_within(1e6, 1e6 + 0.25)
    assert list(ListedTimes([])) == []
    assert not ListedTimes([]).any_within(0, 9)
