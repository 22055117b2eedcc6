"""benchmarks/mmer.py could not keep frozen sounds since batches name them ``sound_features``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "mmer.py"


def test_frozen_words_and_sounds_are_kept_by_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("mmer_benchmark", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mmer_benchmark", module)
    spec.loader.exec_module(module)
    way = module.Way("kept", kept_words=True, kept_sounds=True)
    clips, model = module.utterances(2, 2), module.network(small=True)
    batch = next(module.batches(way, clips, module.frozen(way, model, clips)))
    assert batch.vectors is not None
    assert batch.sound_features is not None
