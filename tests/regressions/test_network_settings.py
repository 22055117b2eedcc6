"""Settings of networks that cannot be built are refused by name, not by a traceback from inside the network."""

from __future__ import annotations

from typing import Any

import pytest

from maeum.errors import ConfigError
from maeum.models.networks import MODELS
from maeum.runs.recipe import Recipe
from maeum.studies.compare import Comparison

TEXT = {"kind": "small", "vocabulary": 50, "width": 8, "channels": 4, "dim": 12}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lf-transformer", {"dim": 64, "transformer": {"heads": 5}}, "dim 64 does not divide among 5 heads"),
        ("fe2e", {"dim": 10}, "dim 10 does not divide among 4 heads"),
        ("mesm", {"dim": 64, "speech": {"transformer": {"heads": 3}}}, "dim 64 does not divide among 3 heads"),
        ("mult", {"dim": 40, "heads": 7}, "dim 40 does not divide among 7 heads"),
        ("mmer", {"dim": 16, "heads": 3, "speech": None, "text": TEXT}, "dim 16 does not divide among 3 heads"),
        ("fe2e", {"dim": 15, "faces": {"transformer": {"heads": 5}}}, "dim 15 is odd, and sinusoidal positions"),
        ("fe2e", {"dim": 0}, "dim = 0: Input should be greater than or equal to 1"),
        ("fe2e", {"faces": {"widths": [0, 1, 1, 1]}}, r"faces\.widths\.0 = 0"),
        ("fe2e", {"faces": {"norm": "bands"}}, "faces.norm is published or each, not bands"),
        ("fe2e", {"speech": {"shrink": [16, 1]}}, r"speech\.shrink \[16, 1\] leaves nothing of a mel chunk"),
        ("fe2e", {"speech": {"dropout": 1.5}}, r"speech\.dropout = 1\.5"),
        ("lf-lstm", {"hidden": -1}, "hidden = -1"),
        ("mmer", {"dim": -8, "speech": None, "text": TEXT}, "dim = -8"),
        ("mmer", {"speech": {"kind": "small", "widths": []}, "text": None}, "widths"),
        ("mesm", {"top_p": 0}, "top_p = 0"),
    ],
)
def test_impossible_sizes_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MODELS[name].build({"labels": 3, **settings})


@pytest.mark.parametrize(
    ("model", "setting", "meant"),
    [
        ("fe2e", "dim", r"\(it belongs under 'network:', as network\.dim\)"),
        (
            "fe2e",
            "heads",
            r"\(did you mean network\.faces\.transformer\.heads or network\.speech\.trans.*heads\?\)",
        ),
        ("mmer", "heads", r"\(it belongs under 'network:', as network\.heads\)"),
        ("mesm", "top_p", r"\(it belongs under 'network:', as network\.top_p\)"),
        ("mesm", "sharpnes", r"\(did you mean network\.sharpness\?\)"),
        ("mult", "hidden_size", r"\(did you mean network\.dim\?\)"),
        ("fe2e", "training.dim", r"\(it belongs under 'network:', as network\.dim\)"),
        ("nothing", "dim", "$"),
        (
            "mmer",
            "pretrained",
            r"\(did you mean tokenizer\.pretrained or network\.speech\.pretrained or network\.text\.",
        ),
        (
            "fe2e",
            "pretrained",
            r"\(did you mean tokenizer\.pretrained or network\.speech\.pretrained or network\.text\.",
        ),
        ("mmer", "vocabulary", r"\(did you mean tokenizer\.vocabulary or network\.text\.vocabulary\?\)"),
    ],
)
def test_a_network_setting_beside_model_is_shown_its_place(model: str, setting: str, meant: str) -> None:
    """The error named no place: settings under ``network`` are a mapping, whose class ``model`` decides."""
    section, _, name = setting.rpartition(".")
    given = {section: {name: 4}} if section else {name: 4}
    with pytest.raises(ConfigError, match=f"unknown setting '{setting}' ?{meant}"):
        Recipe.parse({"name": "a", "model": model, "train": [], "dev": [], **given})


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("init_from", r"\(it belongs under 'entries\.NAME:', as entries\.NAME\.init_from\)"),
        ("model", r"\(it belongs under 'entries\.NAME:', as entries\.NAME\.model\)"),
        ("network", r"\(did you mean shared\.network or entries\.NAME\.network\?\)"),
        ("training", r"\(did you mean shared\.training or entries\.NAME\.training\?\)"),
        ("lr", r"\(it belongs under 'shared\.training:', as shared\.training\.lr\)"),
        ("score", r"\(did you mean metrics\?\)"),
        ("metric", r"\(did you mean metrics\?\)"),
    ],
)
def test_a_setting_of_entries_beside_them_is_shown_a_place_that_exists(setting: str, meant: str) -> None:
    """The error named ``entries.init_from``, which is an entry without a title."""
    given = {"name": "a", "title": "b", "shared": {}, "entries": {"x": {"title": "x", "model": "mesm"}}, setting: 4}
    with pytest.raises(ConfigError, match=f"unknown setting '{setting}' {meant}"):
        Comparison.parse(given)


def test_a_setting_of_training_items_is_shown_its_place() -> None:
    with pytest.raises(ConfigError, match=r"'store' \(did you mean train\.N\.store or dev\.N\.store\?\)"):
        Recipe.parse({"name": "a", "train": [], "dev": [], "store": "stores/a"})


@pytest.mark.parametrize(("name", "section"), [("dim", "network"), ("lr", "training")])
def test_a_setting_of_an_entry_is_shown_its_place(name: str, section: str) -> None:
    entries = {"x": {"title": "x", "model": "mesm", name: 4}}
    problem = rf"'entries\.x\.{name}' \(it belongs under 'entries\.x\.{section}:', as entries\.x\.{section}\.{name}\)"
    with pytest.raises(ConfigError, match=problem):
        Comparison.parse({"name": "a", "title": "b", "shared": {}, "entries": entries})
