"""The environment: neither torchvision nor torchaudio, which break imports beside a CPU build of torch."""

from __future__ import annotations

from importlib.metadata import distributions
from importlib.util import find_spec

import pytest


@pytest.mark.parametrize("name", ["torchvision", "torchaudio"])
def test_it_is_not_installed(name: str):
    assert find_spec(name) is None
    assert name not in {(d.metadata["Name"] or "").lower() for d in distributions()}


def test_nothing_that_maeum_needs_asks_for_them():
    asked = [r for d in distributions() if d.metadata["Name"] == "maeum" for r in d.requires or ()]
    assert asked, "maeum is installed"
    assert not [r for r in asked if r.startswith(("torchvision", "torchaudio", "tensorflow", "opencv"))]
