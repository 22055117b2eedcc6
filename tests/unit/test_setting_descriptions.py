"""Every setting of every settings class says what it means, and what its numbers may be."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import maeum
from maeum.config import Config
from maeum.data.feed import AugmentConfig
from maeum.errors import ConfigError
from maeum.inputs.settings import InputSettings
from maeum.models.branches import BranchConfig
from maeum.models.fe2e import FE2EConfig
from maeum.training.config import TrainConfig

#: Modules whose import needs an optional package.
OPTIONAL = {"maeum.sparse.triton_ops", "maeum.__main__"}
#: Classes whose settings are not all described yet. It only gets shorter.
NOT_YET: set[str] = set()


def settings_classes() -> list[type[Config]]:
    """All of them, of all modules of maeum."""
    for module in pkgutil.walk_packages(maeum.__path__, "maeum."):
        if module.name not in OPTIONAL:
            importlib.import_module(module.name)

    def below(owner: type[Config]) -> Iterator[type[Config]]:
        for child in owner.__subclasses__():
            yield child
            yield from below(child)

    found = {child for child in below(Config) if child.__module__.startswith("maeum.")}
    return sorted(found, key=lambda child: f"{child.__module__}.{child.__qualname__}")


def undescribed(owner: type[Config]) -> list[str]:
    """Settings without a description; of a setting that chooses a member of a union its single value says it all."""
    properties = owner.model_json_schema().get("properties", {})
    return [
        name
        for name, schema in properties.items()
        if not schema.get("description") and "const" not in schema and name != "kind"
    ]


def test_every_setting_has_a_description() -> None:
    classes = settings_classes()
    missing = {f"{c.__module__}.{c.__qualname__}": names for c in classes if (names := undescribed(c))}
    assert {name: names for name, names in missing.items() if name not in NOT_YET} == {}


def test_all_settings_classes_are_looked_at() -> None:
    names = {owner.__name__ for owner in settings_classes()}
    assert {"Recipe", "TrainConfig", "FE2EConfig", "MMERConfig", "PrepareConfig", "IemocapOptions", "Study"} <= names


#: Settings whose numbers have no bounds, or classes of them, and why.
UNBOUNDED = {
    "corpora.crema_d.CremaDOptions.dev_actors": "names, which the corpus knows",
    "corpora.crema_d.CremaDOptions.test_actors": "names, which the corpus knows",
    "corpora.emodb.EmodbOptions.dev_speakers": "names, which the corpus knows",
    "corpora.emodb.EmodbOptions.test_speakers": "names, which the corpus knows",
    "corpora.folder.FolderOptions.ranges": "values in whatever unit the user's table has",
    "corpora.folder.FolderOptions.scales": "values in whatever unit the user's table has",
    "corpora.iemocap.IemocapOptions.dev_sessions": "names, which the corpus knows",
    "corpora.iemocap.IemocapOptions.test_sessions": "names, which the corpus knows",
    "corpora.ravdess.RavdessOptions.dev_actors": "names, which the corpus knows",
    "corpora.ravdess.RavdessOptions.test_actors": "names, which the corpus knows",
    "models.card.ModelCard": "a record of what is there",
    "models.card.Score": "a record of what was measured",
    "models.caution.Caution": "a record of what was fitted",
    "models.calibration.Calibration": "a record of what was fitted",
    "runs.trained_on.KnownSplit": "a record of what was drawn",
}


def unbounded(schema: Any) -> bool:
    """Whether a setting may hold a number that has no lower or no upper bound."""
    if schema.get("type") in ("integer", "number") and not {"enum", "const"} & set(schema):
        return not ({"minimum", "exclusiveMinimum"} & set(schema) and {"maximum", "exclusiveMaximum"} & set(schema))
    parts = [*schema.get("anyOf", ()), *schema.get("prefixItems", ())]
    parts += [schema[name] for name in ("items", "additionalProperties") if isinstance(schema.get(name), dict)]
    return any(unbounded(part) for part in parts)


def test_every_number_has_bounds_or_a_reason_to_have_none() -> None:
    free = set()
    for owner in settings_classes():
        name = f"{owner.__module__}.{owner.__qualname__}".removeprefix("maeum.")
        properties = owner.model_json_schema().get("properties", {})
        found = {f"{name}.{setting}" for setting, schema in properties.items() if unbounded(schema)}
        free |= {name} if found and name in UNBOUNDED else found
    assert free == set(UNBOUNDED)


@pytest.mark.parametrize(
    ("owner", "data", "names"),
    [
        (InputSettings, {"frame_every_s": math.inf}, "frame_every_s = inf: Input should be a finite number"),
        (InputSettings, {"frame_every_s": 0.001}, r"frame_every_s = 0\.001: .* greater than or equal to 0\.005"),
        (TrainConfig, {"lr": math.inf}, "lr = inf"),
        (TrainConfig, {"weight_decay": math.nan}, "weight_decay = nan"),
        (TrainConfig, {"modality_weight": math.inf}, "modality_weight = inf"),
        (TrainConfig, {"seed": 10**20}, "seed = 100000000000000000000"),
        (TrainConfig, {"lr_scale": {"heads": -1}}, r"lr_scale\.heads = -1"),
        (TrainConfig, {"face_sizes": [[0.5, 0]]}, r"face_sizes\.0\.1 = 0"),
        (BranchConfig, {"range_db": math.inf}, "range_db = inf"),
        (FE2EConfig, {"labels": 3, "dim": 10**6}, "dim = 1000000"),
        (AugmentConfig, {"faces": {"flip": -3}}, r"faces\.flip = -3"),
        (AugmentConfig, {"mel_chunks": {"window_s": [0, 1]}}, r"mel_chunks\.window_s\.0 = 0"),
        (AugmentConfig, {"drop_modality": 2}, "drop_modality = 2"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(owner: type[Config], data: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        owner.parse(data)


def test_every_frame_of_fast_cameras_can_be_read() -> None:
    assert InputSettings.parse({"frame_every_s": 1 / 120}).frame_every_s == 1 / 120
