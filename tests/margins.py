"""Tests whose outcome depends on where a training ends: how far they are from failing, over seeds and processors.

Trainings of other seeds, and of the same seed on another processor (other vector units round otherwise), end
elsewhere. Such a test is marked ``trains`` and makes its claims through the fixture `margin`, which asserts them.
`scripts/margins` runs the marked tests over many seeds, vector units and forms of the sparse operators and prints the
range of every value, which the tests repeat in a comment.

Read from the environment: ``MAEUM_TEST_SEED``, which is added to every seed (first weights, dropout, order of items);
``MAEUM_TEST_MARGINS``, a file to which each value is appended as a line of JSON instead of asserting it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from maeum.data.sampler import BucketSampler

Margin = Callable[..., None]


@pytest.fixture
def margin(request: pytest.FixtureRequest) -> Margin:
    """``margin("what", value, above=least)`` or ``below=most``: asserts it, or writes the value down."""

    def claim(what: str, value: float, *, above: float | None = None, below: float | None = None) -> None:
        assert (above is None) != (below is None)
        assert request.node.get_closest_marker("trains"), "a claim about a training: mark the test `trains`"
        log = os.environ.get("MAEUM_TEST_MARGINS")
        if log:
            line = {"test": request.node.nodeid, "what": what, "value": value, "above": above, "below": below}
            with Path(log).open("a") as file:
                file.write(json.dumps(line) + "\n")
        elif above is not None:
            assert value > above, what
        else:
            assert value < below, what

    return claim


def pytest_configure(config: pytest.Config) -> None:
    """Add ``MAEUM_TEST_SEED`` to every seed of torch's generator and of the order of items."""
    shift = int(os.environ.get("MAEUM_TEST_SEED", "0"))
    if shift:
        seed, init = torch.manual_seed, BucketSampler.__init__

        def shifted_init(
            self: BucketSampler, lengths: Any, batch_size: int, seed: int = 0, *args: Any, **kw: Any
        ) -> None:
            init(self, lengths, batch_size, seed + shift, *args, **kw)

        torch.manual_seed = lambda value: seed(value + shift)
        BucketSampler.__init__ = shifted_init


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where values are written down, only tests that claim one: others compare with processes of unmoved seeds."""
    if os.environ.get("MAEUM_TEST_MARGINS"):
        claiming = [item for item in items if "margin" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=[item for item in items if item not in claiming])
        items[:] = claiming
