"""Settings as text: YAML and JSON, in which a key given twice is an error and ``1e-4`` is a number."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import yaml

from maeum.errors import ConfigError
from maeum.files import check_regular

#: Lists and mappings in each other; settings need a handful.
_DEEPEST = 100
_TOO_DEEP = f"lists or mappings are nested more than {_DEEPEST} deep"
#: Characters of a YAML, which is slow to read; and values where aliases stand for copies of what they name.
_LARGEST_YAML, _MOST_ALIASED = 4_000_000, 100_000


def parse_yaml(text: str, item: object = None) -> Any:
    """Plain data from YAML.

    Args:
        text: the YAML.
        item: what to name in errors, such as the file's path.

    Raises:
        ConfigError: where the text is no YAML, or gives a key twice; names the line.
    """
    if len(text) > _LARGEST_YAML:
        raise ConfigError(f"is too large for settings: {len(text):,} characters", item=item,
                          remedy=f"Give at most {_LARGEST_YAML:,}.")  # fmt: skip
    try:
        return _checked_signs(yaml.load(text, _Loader), text, item)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot be read: {_describe(error)}", item=item) from error
    except (ValueError, TypeError) as error:  # of a tag, such as !!set, on a value that is none
        raise ConfigError(f"cannot be read: {error}", item=item) from error


def parse_json(text: str, item: object = None) -> Any:
    """Plain data from JSON; arguments and errors as those of `parse_yaml`."""
    try:
        data = json.loads(text, object_pairs_hook=_unique_pairs)
    except _RepeatedKey as error:
        # JSON is YAML once its tabs are blanks, and the YAML reader knows the lines. It is too slow for every file.
        parse_yaml(text.replace("\t", " "), item)
        raise ConfigError(f"cannot be read: the key {error.args[0]!r} is given twice", item=item) from error
    except RecursionError as error:
        raise ConfigError(f"cannot be read: {_TOO_DEEP}", item=item) from error
    except ValueError as error:  # no JSON, or a number with thousands of digits
        raise ConfigError(f"cannot be read: {error}", item=item) from error
    if text.count("[") + text.count("{") > _DEEPEST and _is_too_deep(data):
        raise ConfigError(f"cannot be read: {_TOO_DEEP}", item=item)
    return _checked_signs(data, text, item)


def _checked_signs(data: Any, text: str, item: object) -> Any:
    """The data; raises ConfigError where an escape in their text is half of a sign, which no file can hold."""
    if "\\u" in text.lower():
        try:
            json.dumps(data, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            raise ConfigError("cannot be read: an escape such as \\ud800 is half of a sign", item=item) from error
    return data


def read_settings(path: Path) -> Any:
    """Plain data from a ``.json`` file, or from any other as YAML; raises ConfigError naming the file."""
    try:
        check_regular(path, ConfigError)
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError("no such file", item=path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", item=path) from error
    return parse_json(text, path) if path.suffix == ".json" else parse_yaml(text, path)


def with_changes(data: dict[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """Settings with some of them changed.

    Args:
        data: the settings.
        changes: such as ``training.lr=1e-3``: a dotted path, in which a number is a place in a list, and a YAML value.

    Raises:
        ConfigError: where a change has no ``=``, no readable value, or goes through a setting that has no parts.
    """
    changed: Any = copy.deepcopy(data)
    for change in changes:
        path, equals, value = change.partition("=")
        names = path.strip().split(".")
        if not equals or not all(names) or len(names) > _DEEPEST:
            raise ConfigError("is no change of a setting", item=change, remedy="Write it as training.lr=1e-3.")
        _change(changed, names, parse_yaml(value, item=change), change)
    return dict(changed)


def _change(data: Any, names: list[str], value: Any, change: str) -> None:
    owner = data
    for depth, name in enumerate(names):
        before = ".".join(names[:depth])
        key = _key(owner, name, before, change)
        if depth == len(names) - 1:
            owner[key] = value
            return
        if isinstance(owner, dict) and owner.get(key) is None:
            owner[key] = {}
        owner = owner[key]


def _key(owner: Any, name: str, path: str, change: str) -> Any:
    """A name as it is a key of a mapping or a place in a list; raises ConfigError."""
    if isinstance(owner, dict):
        return name
    if not isinstance(owner, list):
        raise ConfigError(f"{path} is {json.dumps(owner)}, which has no setting {name!r}", item=change)
    if not name.isdecimal() or int(name) >= len(owner):
        last = len(owner) - 1
        known = f"write a number from 0 to {last}" if owner else "it is empty"
        raise ConfigError(f"{path} is a list and has no {name!r}: {known}", item=change)
    return int(name)


class _RepeatedKey(Exception):
    """A key is given twice in one JSON object."""


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RepeatedKey(next(name for number, name in enumerate(names) if name in names[:number]))
    return found


def _is_too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(_DEEPEST):
        level = [
            part
            for whole in level
            if isinstance(whole, list | dict)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return False
    return any(isinstance(whole, list | dict) for whole in level)


def _parts_of(node: yaml.Node) -> list[yaml.Node]:
    """The nodes of a list, or the keys and values of a mapping; none of a single value."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads numbers as people write them, and refuses a key given twice.

    In YAML 1.1 ``1e-4`` is a text, ``010`` eight and ``1:30`` ninety.

    It also refuses what would exhaust the program: deep nesting, and aliases of aliases.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._aliased = False
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node; its values are counted as often as aliases name them."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, _TOO_DEEP, mark)
        alias = self.check_event(yaml.AliasEvent)
        self._aliased |= alias
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, "an alias names what it stands in", mark)
        if not alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts_of(node))
        if self._aliased and self._sizes[id(node)] > _MOST_ALIASED:
            problem = f"with its aliases written out it has more than {_MOST_ALIASED:,} values"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The value of a node; one that its tag cannot read is an error of YAML, with its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            what = f"{node.value!r:.80} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a list or a mapping is no name of a setting", key_node.start_mark
                )
            if key in lines:
                again = key_node.start_mark.line + 1
                where = f"in line {again}" if again == lines[key] else f"in lines {lines[key]} and {again}"
                raise yaml.constructor.ConstructorError(problem=f"the key {key!r} is given twice, {where}")
            lines[key] = key_node.start_mark.line + 1
        return super().construct_mapping(node, deep)


_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag not in _NUMBERS]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _form in zip(
    _NUMBERS,
    (
        r"[-+]?(0|[1-9]\d{0,30})",
        r"[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d{1,4})?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    ),
    strict=True,
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_form})$"), list("-+0123456789."))


def _describe(error: yaml.YAMLError) -> str:
    """What YAML cannot read and where, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    mark = error.problem_mark
    return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"
