"""Batches that can be repeated."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from maeum.data.sampler import BucketSampler
from maeum.errors import ConfigError

LENGTHS = np.random.default_rng(0).integers(1, 100, 103).tolist()


def test_an_epoch_holds_each_item_once_and_epochs_differ():
    sampler = BucketSampler(LENGTHS, 8, seed=1)
    first, second = list(sampler), list(sampler)
    assert len(first) == len(sampler) == 13
    assert sorted(i for batch in first for i in batch) == list(range(103))
    assert first != second
    assert sampler.epoch == 2


def test_same_seed_same_batches():
    assert list(BucketSampler(LENGTHS, 8, seed=1)) == list(BucketSampler(LENGTHS, 8, seed=1))
    assert list(BucketSampler(LENGTHS, 8, seed=1)) != list(BucketSampler(LENGTHS, 8, seed=2))


def test_resumes_in_the_middle_of_an_epoch():
    whole = BucketSampler(LENGTHS, 8, seed=1)
    expected = [*whole, *whole]
    first = BucketSampler(LENGTHS, 8, seed=1)
    walk = iter(first)
    seen = [next(walk) for _ in range(5)]
    state = first.state_dict()
    second = BucketSampler(LENGTHS, 8, seed=1)
    second.load_state_dict(state)
    assert seen + list(second) + list(second) == expected
    third = BucketSampler(LENGTHS, 8, seed=1)
    third.load_state_dict(first.state_dict(position=3))  # a loader had fetched two batches ahead
    assert next(iter(third)) == expected[3]


def test_resuming_something_else_is_an_error():
    state = BucketSampler(LENGTHS, 8, seed=1).state_dict()
    with pytest.raises(ConfigError, match="cannot resume: batch_size was 8, is 4"):
        BucketSampler(LENGTHS, 4, seed=1).load_state_dict(state)


def test_buckets_save_padding():
    def padding(pool: int) -> float:
        batches = list(BucketSampler(LENGTHS, 8, pool=pool))
        lengths = np.asarray(LENGTHS)
        return sum(lengths[b].max() * len(b) - lengths[b].sum() for b in batches) / lengths.sum()

    assert padding(32) < 0.2 * padding(1)


def test_balance_makes_classes_equal():
    classes = [0] * 900 + [1] * 90 + [2] * 10
    sampler = BucketSampler([1.0] * 1000, 50, seed=0, classes=classes, balance=1.0)
    drawn = Counter(classes[i] for _ in range(10) for batch in sampler for i in batch)
    assert sum(drawn.values()) == 10_000
    for count in drawn.values():
        assert count == pytest.approx(10_000 / 3, rel=0.06)
    half = BucketSampler([1.0] * 1000, 50, seed=0, classes=classes, balance=0.5)
    drawn = Counter(classes[i] for _ in range(10) for batch in half for i in batch)
    expected = np.sqrt([900, 90, 10])
    for name, share in enumerate(expected / expected.sum()):
        assert drawn[name] / 10_000 == pytest.approx(share, rel=0.1)


def test_evaluation_order_and_drop_last():
    batches = list(BucketSampler([3, 1, 2], 2, shuffle=False))
    assert batches == [[1, 2], [0]]
    assert all(len(b) == 8 for b in BucketSampler(LENGTHS, 8, drop_last=True))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"balance": 2.0}, {"balance": 0.5}, {"pool": 0}, {"lengths": []}])
def test_wrong_settings(wrong: dict[str, object]):
    with pytest.raises(ConfigError):
        BucketSampler(**{"lengths": [1, 2], "batch_size": 2, **wrong})  # type: ignore[arg-type]
