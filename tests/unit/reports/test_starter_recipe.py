"""The starter recipe of each network: complete, with the defaults, and good for a training."""

from __future__ import annotations

from itertools import pairwise

import pytest

from maeum.errors import ConfigError
from maeum.models.networks import MODELS
from maeum.reports.starter_recipe import starter_recipe
from maeum.runs.recipe import DataConfig, Recipe
from maeum.settings_text import parse_yaml
from maeum.training.config import TrainConfig
from maeum.types import MODALITIES


@pytest.mark.parametrize("network", list(MODELS))
def test_it_holds_every_setting_with_its_default(network: str) -> None:
    data = parse_yaml(starter_recipe(network))
    recipe = Recipe.parse(data)
    assert set(data) == set(Recipe.model_fields)
    assert set(data["training"]) == set(TrainConfig.model_fields)
    assert set(data["train"][0]) == set(DataConfig.model_fields)
    assert recipe.training == TrainConfig()
    unset = Recipe.parse({"name": "a", "train": data["train"], "dev": data["dev"]})
    same = set(Recipe.model_fields) - {"name", "model", "network", "tokenizer"}
    assert recipe.model_dump(include=same) == unset.model_dump(include=same)
    kind = MODELS[network].config
    assert set(kind.model_fields) - set(recipe.network) <= {"labels", "characters"}
    config = kind.parse({**recipe.network, "labels": 7})
    for name, field in kind.model_fields.items():
        if name not in MODALITIES and not field.is_required():
            assert getattr(config, name) == field.get_default(call_default_factory=True), name


@pytest.mark.parametrize("network", list(MODELS))
def test_each_setting_has_a_comment_above_it(network: str) -> None:
    lines = starter_recipe(network).splitlines()
    bare = [
        line
        for before, line in pairwise(lines)
        if ":" in line and not line.lstrip().startswith("#") and not before.lstrip().startswith("#")
    ]
    assert [line for line in bare if not line.startswith("  - store")] == []
    assert max(map(len, lines)) <= 100


def test_an_unknown_network_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'fe2'\. Did you mean 'fe2e'\?"):
        starter_recipe("fe2")
