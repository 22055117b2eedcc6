"""The starter recipe of each network: complete, with the defaults, and good for a training."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from maeum.errors import ConfigError
from maeum.inputs.settings import InputSettings
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained
from maeum.reports.starter_recipe import starter_recipe
from maeum.runs.recipe import DataConfig, Recipe
from maeum.runs.train import train
from maeum.settings_text import parse_yaml, with_changes
from maeum.training.config import TrainConfig
from maeum.types import MODALITIES

WORDS = {"Happiness": "what a lovely happy day", "Sadness": "so sad i could cry"}
#: Small sizes, so that an epoch is short; whichever of them a network has.
SMALL = {
    "dim": 8, "hidden": 8, "heads": 2, "feedforward": 8, "project": 4, "blocks": 1, "query_dim": 4,
    "transformer": {"layers": 1, "heads": 2, "feedforward": 8},
    "text": {"vocabulary": 60},
}  # fmt: skip
WHISPER = {
    "model_type": "whisper", "d_model": 8, "vocab_size": 9, "encoder_layers": 2, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12,
    "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_sessions: Callable[..., Path]) -> Path:
    return make_sessions(tmp_path_factory.mktemp("sessions"), WORDS, (1, 2), rounds=2)


@pytest.mark.parametrize("network", list(MODELS))
def test_it_holds_every_setting_with_its_default(network: str) -> None:
    data = parse_yaml(starter_recipe(network))
    recipe = Recipe.parse(data)
    assert set(data) == set(Recipe.model_fields)
    assert set(data["training"]) == set(TrainConfig.model_fields)
    assert set(data["train"][0]) == set(DataConfig.model_fields)
    assert recipe.training == TrainConfig()
    unset = Recipe.parse({"name": "a", "train": data["train"], "dev": data["dev"]})
    same = set(Recipe.model_fields) - {"name", "model", "network", "tokenizer", "inputs"}
    assert recipe.model_dump(include=same) == unset.model_dump(include=same)
    assert recipe.inputs == InputSettings(sound=MODELS[network].network.input_needs.sound)
    kind = MODELS[network].config
    assert set(kind.model_fields) - set(recipe.network) <= {"labels", "characters"}
    config = kind.parse({**recipe.network, "labels": 7})
    for name, field in kind.model_fields.items():
        if name not in (*MODALITIES, "freeze_text") and not field.is_required():
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


@pytest.mark.parametrize("network", list(MODELS))
def test_a_training_takes_it(network: str, store: Path, tmp_path: Path) -> None:
    data: dict[str, Any] = parse_yaml(starter_recipe(network))
    own = data["network"]
    small = {name: value for name, value in SMALL.items() if name in own and not isinstance(value, dict)}
    changes = [f"network.{name}={value}" for name, value in small.items()]
    changes += [
        f"network.{group}.{name}={value}"
        for group, values in SMALL.items()
        if isinstance(values, dict) and isinstance(own.get(group), dict)
        for name, value in values.items()
    ]
    if "faces" in own:
        changes.append("network.faces=null")
    read = "speech, text"
    if network == "ssl-linear":  # its own encoder has to be fetched
        read = "speech"
        changes.append(f"network.architecture={WHISPER}")
    elif isinstance(own["speech"].get("transformer"), dict):
        changes += ["network.speech.widths=[4, 4, 4, 4]", "network.speech.hidden=8",
                    "network.speech.transformer={layers: 1, heads: 2, feedforward: 8}"]  # fmt: skip
    changes += [
        f"train.0.store={store}", f"dev.0.store={store}", f"train.0.modalities=[{read}]",
        f"dev.0.modalities=[{read}]", "split={kind: random, by: utterance, dev_share: 0.4, test_share: 0}",
        "allow_overlap=true",
        "training.epochs=1", "inputs.max_mel_chunks=2",
        *(["tokenizer.vocabulary=60"] if "text" in read else []),
    ]  # fmt: skip
    recipe = Recipe.parse(with_changes(data, changes))
    report = train(recipe, tmp_path / "run")
    assert report.epochs == 1
    assert load_pretrained(report.model).kind == network


def test_an_unknown_network_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"unknown network 'fe2'\. Did you mean 'fe2e'\?"):
        starter_recipe("fe2")
