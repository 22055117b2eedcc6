"""Minimal recipes of benchmarks/defaults.py that were refused: baselines and branches with text, MMER without it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from maeum.models.networks import MODELS
from maeum.runs.checks import check_modalities
from maeum.runs.recipe import Recipe

FILE = Path(__file__).parents[2] / "benchmarks" / "defaults.py"


@pytest.fixture(scope="module")
def defaults() -> ModuleType:
    spec = importlib.util.spec_from_file_location("defaults", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("modalities", [["speech"], ["text"], ["speech", "text"]])
@pytest.mark.parametrize("model", ["fe2e", "lf-lstm", "lf-transformer", "mesm", "mmer", "mult"])
def test_a_minimal_recipe_can_be_trained(defaults: ModuleType, model: str, modalities: list[str]) -> None:
    recipe = Recipe.parse(defaults.minimal_recipe(model, Path("store"), modalities))
    network = MODELS[model].build({"labels": 3, **recipe.network})
    read = recipe.train[0].modalities
    assert read is not None
    check_modalities(recipe, network, read)
    assert (recipe.tokenizer is not None) == ("text" in read)
