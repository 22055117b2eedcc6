"""A complete commented recipe of a network, made from the settings classes."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from maeum.inputs.settings import InputSettings
from maeum.models.encoders.text import SmallTextConfig
from maeum.models.networks import MODELS
from maeum.reports.settings import default_of, type_of
from maeum.runs.recipe import DataConfig, Recipe, SmallTokenizerConfig
from maeum.setting_names import nested_models
from maeum.types import MODALITIES

_WIDTH = 100
#: Where the recipe reads until somebody writes another folder.
_STORE = "stores/my-corpus"
#: Settings of a network that training fills in from the data.
_FILLED_IN = {"labels", "characters"}
_PLAIN = re.compile(r"[A-Za-z][\w./-]*")
_NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}


def starter_recipe(network: str) -> str:
    """The recipe as YAML; raises ConfigError on an unknown network."""
    title, kind = MODELS[network].title, MODELS[network].network
    reads_text = "text" in getattr(kind, "modalities", ("text",))  # most networks have text as the settings say
    recipe = Recipe(
        name=f"my-{network}",
        model=network,
        train=(DataConfig.model_validate({"store": _STORE}),),
        dev=(DataConfig.model_validate({"store": _STORE}),),
        tokenizer=SmallTokenizerConfig() if reads_text else None,
        inputs=InputSettings(sound=kind.input_needs.sound),
    )
    head = [
        f"# {network}: {title}",
        "# Write the folder of your prepared corpus (maeum prepare) at train and dev, then:",
        f"#   maeum train my-{network}.yaml --out runs/my-{network}",
        "# Every line below that you do not need may go: what is not written has the default shown here.",
    ]
    lines: list[str] = []
    for name, field in Recipe.model_fields.items():
        lines += ["", *_comment(Recipe, name, field, "")]
        if name == "network":
            lines += ["network:", *_block(MODELS[network].config, _network_settings(network), "  ")]
        elif name == "dev":
            lines += ["dev:", f"  - store: {_STORE}"]
        else:
            lines += _setting(name, field, getattr(recipe, name), "")
    return "\n".join([*head, *lines]) + "\n"


def _network_settings(network: str) -> dict[str, Any]:
    """The network's settings by default, with an encoder for each modality that it can read."""
    found: dict[str, Any] = {}
    for name, field in MODELS[network].config.model_fields.items():
        members = nested_models(field.annotation)
        default = default_of(field)
        if name in MODALITIES and default is None and members:
            default = members[0]()
        if name not in _FILLED_IN:
            found[name] = default
    if isinstance(found.get("text"), SmallTextConfig) and "freeze_text" in found:
        found["freeze_text"] = False  # a small encoder begins untrained, so it has to learn
    return found


def _block(config: type[BaseModel], values: dict[str, Any], indent: str) -> Iterator[str]:
    for name, field in config.model_fields.items():
        if name in values:
            yield from _comment(config, name, field, indent)
            yield from _setting(name, field, values[name], indent)


def _setting(name: str, field: FieldInfo, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield f"{indent}{name}:"
        yield from _block(type(value), _values(value), indent + "  ")
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        yield f"{indent}{name}:"
        for item in value:
            yield from _as_list_item(list(_block(type(item), _values(item), indent + "    ")), indent)
    else:
        yield f"{indent}{name}: {_yaml(to_jsonable_python(value))}"


def _as_list_item(lines: list[str], indent: str) -> Iterator[str]:
    """Lines of settings with the dash of a list before the first that is no comment."""
    marked = False
    for line in lines:
        if not marked and not line.lstrip().startswith("#"):
            yield f"{indent}  - {line.lstrip()}"
            marked = True
        else:
            yield line


def _values(config: BaseModel) -> dict[str, Any]:
    return {name: getattr(config, name) for name in type(config).model_fields}


def _comment(config: type[BaseModel], name: str, field: FieldInfo, indent: str) -> list[str]:
    schema = config.model_json_schema()
    kind = type_of(schema["properties"][name], schema.get("$defs", {}))
    text = " ".join(f"{field.description or ''} ({kind})".split())
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ",
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_yaml(key)}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    return json.dumps(value)


__all__ = ["starter_recipe"]
