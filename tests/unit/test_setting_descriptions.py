"""Every setting of every settings class says what it means."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import maeum
from maeum.config import Config

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
