"""benchmarks/voice_folds.py took the vectors of its ``--cache`` whatever encoder and items they were of."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / "benchmarks" / "voice_folds.py"


def test_vectors_of_something_else_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("voice_folds", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "voice_folds", module)
    spec.loader.exec_module(module)
    path = tmp_path / "vectors.pt"
    torch.save({"made_of": "one", "vectors": {"as recorded": torch.ones(2)}}, path)
    assert set(module.cached(path, "one")) == {"as recorded"}
    assert module.cached(path, "another") == {}
    torch.save({"as recorded": torch.ones(2)}, path)
    assert module.cached(path, "one") == {}, "which does not say what it is of"
    assert module.cached(None, "one") == module.cached(tmp_path / "none.pt", "one") == {}
