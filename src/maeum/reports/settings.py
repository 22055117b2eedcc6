"""Which settings there are: path, type, default, allowed values and meaning, from the settings classes themselves."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from maeum.config import Config
from maeum.setting_names import nested_models, with_places
from maeum.wording import alternatives

#: Prose of the page in docs/ ends here.
_PAGE_WIDTH = 100


@dataclass(frozen=True)
class Topic:
    """Settings that belong together.

    Args:
        name: what `maeum settings` calls them.
        title: what they are settings of.
        config: their class.
    """

    name: str
    title: str
    config: type[Config]


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        path: as ``--set`` takes it; ``N`` stands for a place in a list, ``NAME`` for a name that the user gives.
        type: its type and the values that are allowed.
        default: as YAML; None where a value has to be given.
        meaning: its description.
        condition: with which choice of another setting it exists, such as ``split.kind = random``.
    """

    path: str
    type: str
    default: str | None
    meaning: str
    condition: str = ""

    def facts(self) -> str:
        """Type and default: ``integer, at least 1; default 40``."""
        default = "required" if self.default is None else f"default {self.default}" if self.default else ""
        condition = f"with {self.condition}" if self.condition else ""
        return "; ".join(filter(None, (self.type, default, condition)))


def settings_of(topic: Topic, known: Mapping[str, Topic]) -> list[Setting]:
    """All settings of a topic; those that are a topic of their own among the ``known`` are referred to."""
    others: dict[type[BaseModel], str] = {
        other.config: name for name, other in known.items() if other.config is not topic.config
    }
    return list(_walk(topic.config, None, (), "", others))


def topics_text(known: Mapping[str, Topic]) -> str:
    """The list of topics."""
    widest = max(map(len, known))
    lines = [f"{name:<{widest}}  {topic.title.replace('`', '')}" for name, topic in known.items()]
    return "\n".join([*lines, "", "One of them: maeum settings NAME. A recipe to start with: maeum recipe NETWORK."])


def settings_text(topic: Topic, known: Mapping[str, Topic], width: int = 100) -> str:
    """A topic's settings for the terminal; ``known``: all topics."""
    width = max(40, min(width, 120))
    blocks = []
    for setting in settings_of(topic, known):
        lines = [setting.path, *textwrap.wrap(setting.facts(), width, initial_indent="  ", subsequent_indent="  ")]
        lines += textwrap.wrap(setting.meaning, width, initial_indent="    ", subsequent_indent="    ")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def settings_page(known: Mapping[str, Topic]) -> str:
    """The page of all settings, Markdown; ``known``: all topics."""
    blocks = [
        "# Settings",
        "Made by `scripts/settings_page` from the settings classes; `maeum settings NAME` prints the same. Each "
        "setting can be written in a YAML or JSON file or given on the command line, as in "
        "`maeum train recipe.yaml --out run --set training.lr=1e-3`. In a path, `N` is a place in a list (from 0) "
        "and `NAME` a name that you choose.",
    ]
    for topic in known.values():
        blocks.append(f"## {topic.name}\n\n{topic.title[0].upper()}{topic.title[1:]}.")
        blocks += [f"- `{s.path}` ({s.facts()}). {s.meaning}".rstrip() for s in settings_of(topic, known)]
    return "\n\n".join(_wrapped(block) for block in blocks) + "\n"


def _wrapped(block: str) -> str:
    if block.startswith("#"):
        return block
    indent = "  " if block.startswith("- ") else ""
    return textwrap.fill(block, _PAGE_WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _walk(
    owner: type[BaseModel],
    values: BaseModel | None,
    parents: tuple[str, ...],
    condition: str,
    others: Mapping[type[BaseModel], str],
    inside: tuple[type[BaseModel], ...] = (),
) -> Iterator[Setting]:
    """Settings of a class and of the classes in it; ``values``: what they are where another class has it as default."""
    schema = owner.model_json_schema()
    for name, field in owner.model_fields.items():
        path = (*parents, name)
        default = getattr(values, name) if isinstance(values, owner) else default_of(field)
        nested = [model for model in nested_models(field.annotation) if model not in inside]
        described = _description(field)
        referred = [others[model] for model in nested if model in others]
        if referred:
            described = f"{described} See `maeum settings {referred[0]}`.".strip()
        kind = type_of(schema["properties"][name], schema.get("$defs", {}))
        tags = [tag for model in nested if len(nested) > 1 and (tag := _tag(model)) is not None]
        if tags:
            kind = kind.replace("settings", f"settings with {tags[0][0]} {alternatives(value for _, value in tags)}")
        yield Setting(".".join(path), kind, _default_text(field, default), described, condition)
        for model in nested:
            if model in others:
                continue
            tag = _tag(model) if tags else None
            settings = _walk(
                model,
                default if isinstance(default, BaseModel) else None,
                with_places(path, field.annotation),
                condition if tag is None else f"{'.'.join(path)}.{tag[0]} = {tag[1]}",
                others,
                (*inside, owner),
            )
            yield from (s for s in settings if tag is None or s.path != f"{'.'.join(path)}.{tag[0]}")


def default_of(field: FieldInfo) -> Any:
    """The default of a field; None where it has none."""
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _default_text(field: FieldInfo, default: Any) -> str | None:
    """A default as YAML; empty where the settings below have their own."""
    if field.is_required():
        return None
    return "" if isinstance(default, BaseModel) else json.dumps(to_jsonable_python(default), ensure_ascii=False)


def _description(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _tag(model: type[BaseModel]) -> tuple[str, str] | None:
    """The setting by which a member of a union is chosen, and its value: ``("kind", "random")``."""
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name, str(get_args(field.annotation)[0])
    return None


def type_of(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON schema's type and allowed values in words: ``integer, at least 1``."""
    if "$ref" in schema:
        return type_of(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return alternatives(str(value) for value in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(type_of(member, definitions) for member in schema[union]))
    kind = schema.get("type")
    if kind == "array":
        return _type_of_list(schema, definitions)
    if kind == "object":
        if "properties" in schema:
            return "settings"
        held = schema.get("additionalProperties")
        return f"mapping of names to {type_of(held, definitions)}" if isinstance(held, dict) and held else "mapping"
    if kind == "string":
        return "path" if schema.get("format") == "path" else "text"
    if kind == "boolean":
        return "true or false"
    limits = [f"{word} {_format_limit(schema[key])}" for key, word in _LIMITS.items() if key in schema]
    return ", ".join([str(kind or "any value"), *limits])


def _format_limit(limit: float) -> str:
    return str(limit) if isinstance(limit, int) else f"{limit:g}"


#: Key of a JSON schema -> how it is worded.
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def _type_of_list(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(type_of(item, definitions) for item in schema['prefixItems'])}]"
    return f"list of {type_of(schema['items'], definitions)}" if schema.get("items") else "list"
