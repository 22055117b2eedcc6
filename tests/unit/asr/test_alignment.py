from __future__ import annotations

import itertools

import numpy as np
import torch

from maeum.asr.alignment import _warped, token_steps


def cheapest(cost: np.ndarray) -> float:
    """The cost of the cheapest monotonic path, by trying all."""
    rows, columns = cost.shape
    best = np.inf
    for moves in itertools.product(((1, 0), (0, 1), (1, 1)), repeat=rows + columns - 2):
        at, total = (0, 0), cost[0, 0]
        for move in moves:
            if at == (rows - 1, columns - 1):
                break
            at = (at[0] + move[0], at[1] + move[1])
            if at[0] >= rows or at[1] >= columns:
                total = np.inf
                break
            total += cost[at]
        if at == (rows - 1, columns - 1):
            best = min(best, total)
    return best


def test_the_path_is_the_cheapest_of_all() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        cost = generator.normal(size=(3, 4))
        first = _warped(cost)
        assert first == sorted(first)
        assert first[0] == 0
        # A path with these first columns can be as cheap as the cheapest.
        best = np.inf
        for lasts in itertools.product(range(4), repeat=2):
            last = [*lasts, 3]
            steps = all(first[i] <= last[i] and first[i + 1] - last[i] in (0, 1) for i in range(2)) and first[2] <= 3
            if steps:
                best = min(best, sum(cost[i, first[i] : last[i] + 1].sum() for i in range(3)))
        assert best == min(best, cheapest(cost)) or abs(best - cheapest(cost)) < 1e-9


def test_tokens_begin_where_attention_moves_to() -> None:
    attention = torch.full((2, 4, 40), 1e-3)
    for token, (begin, end) in enumerate(((0, 10), (10, 18), (18, 30), (30, 40))):
        attention[:, token, begin:end] = 1.0
    steps = token_steps(attention / attention.sum(-1, keepdim=True))
    assert np.abs(np.array(steps) - (0, 10, 18, 30)).max() <= 1


def test_a_single_token_and_a_single_step() -> None:
    assert token_steps(torch.ones(1, 1, 9) / 9) == [0]
    assert token_steps(torch.ones(1, 3, 1)) == [0, 0, 0]
