"""Frozen, typed settings; an unknown key is an error that names the key and the nearest right one."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from collections.abc import Container
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from maeum.errors import ConfigError, MaeumError, OutputError
from maeum.files import write_whole

#: Settings that had another name until now, old -> new: understood with one line of warning.
RENAMED = {
    "contestants": "entries",
    "drop_embedding": "embedding_dropout",
    "drop_pieces": "token_dropout",
    "drop_summary": "summary_dropout",
    "face_query": "query_modality",
    "follows": "init_from",
    "max_pieces": "max_mel_chunks",
    "other_query": "query_shuffle",
    "pieces": "mel_chunks",
    "twin": "view",
    "twins": "views",
}
#: Values that had another name until now, (setting, old value) -> new value.
RENAMED_VALUES = {("sound", "pieces"): "mel_chunks"}


class RenamedSettingWarning(FutureWarning):
    """A setting was given by a name that it no longer has."""


class Config(BaseModel):
    """Base of every configuration. Belongs to the thing that it configures and is written beside what it made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, data: Any) -> Any:
        """Settings by their present names."""
        return _with_present_names(data, cls.model_fields) if isinstance(data, dict) else data

    @classmethod
    def parse(cls, data: dict[str, Any], item: object = None) -> Self:
        """Build from plain data.

        Args:
            data: the settings, as read from YAML or JSON.
            item: what to name in errors, such as the file's path.

        Raises:
            ConfigError: on an unknown key (with the nearest right one) or a value of the wrong kind.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ConfigError(_explain(cls, error), item=item) from error

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a ``.json`` or ``.yaml`` file; raises ConfigError naming the file."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            data = json.loads(text) if path.suffix == ".json" else yaml.load(text, _Loader)
        except FileNotFoundError as error:
            raise ConfigError("no such file", item=path) from error
        except yaml.YAMLError as error:
            raise ConfigError(f"cannot be read: {_where(error)}", item=path) from error
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ConfigError(f"cannot be read: {error}", item=path) from error
        if not isinstance(data, dict):
            raise ConfigError("holds no settings (a mapping of names to values is expected)", item=path)
        return cls.parse(data, item=path)

    def save(self, path: Path | str, error_type: type[MaeumError] = OutputError) -> None:
        """Write as JSON, in full or not at all; raises ``error_type`` when it cannot be written."""
        write_whole(Path(path), self.model_dump_json(indent=2) + "\n", error_type)


def _with_present_names(data: dict[str, Any], fields: Container[str]) -> dict[str, Any]:
    present: dict[str, Any] = {}
    for name, value in data.items():
        new = RENAMED.get(name, name)
        if name not in fields and new in fields and new not in data:
            warnings.warn(f"the setting {name!r} is now called {new!r}", RenamedSettingWarning, stacklevel=2)
            name = new
        if isinstance(value, str) and (name, value) in RENAMED_VALUES:
            warnings.warn(
                f"{name}: {value!r} is now called {RENAMED_VALUES[name, value]!r}", RenamedSettingWarning, stacklevel=2
            )
            value = RENAMED_VALUES[name, value]
        present[name] = value
    return present


def parse_yaml(text: str, item: object = None) -> Any:
    """Read settings that are given as text; raises ConfigError."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot be read: {_where(error)}", item=item) from error


def _where(error: yaml.YAMLError) -> str:
    """What YAML cannot read, and where, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    mark = error.problem_mark
    return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"


def difference(before: Any, now: Any, where: str = "") -> str:
    """The settings in which two sets of plain data differ, in words; empty where none does."""
    if before == now:
        return ""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(name for name in now if name not in before)]
        pairs = [(n, before.get(n, _ABSENT), now.get(n, _ABSENT)) for n in names]
        return "; ".join(filter(None, (difference(b, a, f"{where}.{n}".lstrip(".")) for n, b, a in pairs)))
    was, is_ = ("not given" if value is _ABSENT else json.dumps(value) for value in (before, now))
    return f"{where} was {was}, now {is_}"


#: Stands for a setting that is not there, which is other than null.
_ABSENT = object()


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads ``1e-4`` as a number (YAML 1.1 wants ``1.0e-4``)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _explain(cls: type[BaseModel], error: ValidationError) -> str:
    problems = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(item["loc"][-1]), _field_names(cls, item["loc"][:-1]), n=1)
            problems.append(f"unknown setting {where!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        elif item["type"] == "missing":
            problems.append(f"the setting {where!r} is missing")
        elif item["type"] == "union_tag_invalid":
            named, tags = item["ctx"]["tag"], re.findall(r"'([^']*)'", item["ctx"]["expected_tags"])
            near = difflib.get_close_matches(str(named), tags, n=1)
            key = ".".join(filter(None, (where, item["ctx"]["discriminator"].strip("'"))))
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            problems.append(f"{key} = {named!r}: there is {', '.join(tags)}{meant}")
        elif item["type"] == "value_error":  # of several settings together: which ones, it says itself
            problems.append(": ".join(filter(None, (where, item["msg"].removeprefix("Value error, ")))))
        else:
            problems.append(f"{where or 'settings'} = {_shortened(item.get('input'))}: {item['msg']}")
    return "; ".join(problems)


def _shortened(value: object, longest: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _field_names(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    owner: Any = cls
    for part in loc:
        field = getattr(owner, "model_fields", {}).get(part)
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        owner = next((c for c in candidates if hasattr(c, "model_fields")), owner)
    return list(getattr(owner, "model_fields", {}))
