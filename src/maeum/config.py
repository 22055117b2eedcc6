"""Frozen, typed settings; an unknown key is an error that names the key and the settings that it may mean."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from maeum.errors import ConfigError, MaeumError, OutputError, RenamedSettingWarning
from maeum.files import write_whole
from maeum.setting_names import dotted, example_of, suggest_settings
from maeum.settings_text import read_settings, with_changes
from maeum.wording import counted

T = TypeVar("T")

#: The largest seed that NumPy's global generator takes.
MOST_SEED = 2**32 - 1

#: Settings that had another name until now, old -> new: understood with one line of warning. A name that means a
#: setting of one class alone is written with that class: ``TrainConfig.ctc``.
RENAMED = {
    "BackTranslation.back": "from_pivot",
    "BackTranslation.there": "to_pivot",
    "ViewsConfig.voice": "tts",
    "CalibrateConfig.half": "weights",
    "contestants": "entries",
    "drop_embedding": "embedding_dropout",
    "drop_pieces": "token_dropout",
    "drop_summary": "summary_dropout",
    "every_s": "frame_every_s",
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


@dataclass(frozen=True)
class Removed:
    """A setting that is gone.

    Args:
        reason: why, and what to do instead; a sentence that follows "the setting 'x' is gone: ".
        no_effect: values with which it did what is done without it; they are dropped with one line of warning, so that
            models and runs that were written with them can be read.
    """

    reason: str
    no_effect: tuple[Any, ...] = ()


#: Settings that are gone, by name or by ``Class.name``.
REMOVED: dict[str, Removed] = {
    "InputSettings.margin_px": Removed(
        "faces are cropped with a margin of 2 of 48 pixels; leave it out, and train a model with another one again",
        (2,),
    ),
    "TrainConfig.parallel": Removed(
        "parts of a batch side by side were not shown to be quicker; use training.accumulate where memory is short, or "
        "torchrun for several processes",
        no_effect=(1,),
    ),
}


class Config(BaseModel):
    """Base of all settings classes. Belongs to the thing that it configures and is written beside what it made.

    Each setting has a docstring of its own, which becomes its description in ``model_json_schema()``.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    @classmethod
    def kinds(cls) -> tuple[type[Config], ...]:
        """The classes of which a setting of this type is one, chosen by its ``kind``; empty where it is this class."""
        return ()

    @classmethod
    def sections(cls, data: Mapping[str, Any]) -> Mapping[str, type[BaseModel]]:
        """Settings that are plain mappings, and the class by which each is read later.

        Error messages use them to show an unknown setting its place.

        Args:
            data: the settings, of which another one may say which class it is.
        """
        return {}

    @model_validator(mode="before")
    @classmethod
    def _with_present_names(cls, data: Any) -> Any:
        """The same settings under the names that they have now."""
        if not isinstance(data, dict):
            return data
        present: dict[Any, Any] = {}
        for name, value in data.items():
            if _is_dropped(cls, name, value):
                continue
            new = _present_name(cls, name, data)
            present[new] = _present_value(new, value)
        return present

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
            raise ConfigError(_explain(cls, error, data), item=item) from error

    @classmethod
    def load(cls, path: Path | str | None, changes: Iterable[str] = ()) -> Self:
        """Read a ``.json`` or ``.yaml`` file.

        Args:
            path: the file; None begins with the defaults.
            changes: settings to change, such as ``training.lr=1e-3``; see `maeum.settings_text.with_changes`.

        Raises:
            ConfigError: naming the file, where it cannot be read, holds a wrong setting, or cannot be changed so.
        """
        data, changes = {} if path is None else _mapping(Path(path)), tuple(changes)
        changed = with_changes(data, changes)
        try:
            return cls.model_validate(changed)
        except ValidationError as error:
            item = _named_changes(cls, error, data, changes) or ("--set" if path is None else Path(path))
            raise ConfigError(_explain(cls, error, changed), item=item) from error

    def save(self, path: Path | str, error_type: type[MaeumError] = OutputError) -> None:
        """Write as JSON, in full or not at all; raises ``error_type`` when it cannot be written."""
        write_whole(Path(path), self.model_dump_json(indent=2) + "\n", error_type)


def _mapping(path: Path) -> dict[str, Any]:
    data = read_settings(path)
    if not isinstance(data, dict):
        raise ConfigError("holds no settings (a mapping of names to values is expected)", item=path)
    return data


def _named_changes(cls: type[BaseModel], error: ValidationError, data: dict[str, Any], changes: Sequence[str]) -> str:
    """``--set training.lr=-1`` of the changes that an error is about; empty where the file is wrong without them."""
    try:
        cls.model_validate(data)
        before = []
    except ValidationError as own:
        before = [_place_and_problem(item) for item in own.errors()]
    if not changes or any(_place_and_problem(item) in before for item in error.errors()):
        return ""
    places = [dotted(cls, item["loc"]) for item in error.errors()]
    named = [change for change in changes if any(_are_related(change.partition("=")[0].strip(), p) for p in places)]
    return " ".join(f"--set {change}" for change in named or changes)


def _place_and_problem(item: Any) -> tuple[Any, ...]:
    return (*item["loc"], item["type"], repr(item.get("input")))


def _are_related(one: str, other: str) -> bool:
    """Whether one of two dotted paths is part of the other."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _present_name(cls: type[BaseModel], name: Any, data: dict[Any, Any]) -> Any:
    new = _entry(RENAMED, cls, name) or name
    if name in cls.model_fields or new not in cls.model_fields or new in data or new == name:
        return name
    _warn(f"the setting {name!r} is now called {new!r}")
    return new


def _present_value(name: Any, value: Any) -> Any:
    new = RENAMED_VALUES.get((name, value)) if isinstance(value, str) else None
    if new is None:
        return value
    _warn(f"{name}: {value!r} is now called {new!r}")
    return new


def _is_dropped(cls: type[BaseModel], name: Any, value: Any) -> bool:
    """Whether a setting is gone and nothing is lost without it; raises ValueError where something is."""
    removed = _entry(REMOVED, cls, name)
    if removed is None or name in cls.model_fields:
        return False
    if value not in removed.no_effect:
        raise ValueError(f"the setting {name!r} is gone: {removed.reason}")
    _warn(f"the setting {name!r} is gone and not needed: {removed.reason}")
    return True


def _entry(table: dict[str, T], cls: type[BaseModel], name: Any) -> T | None:
    """What a table has under ``Class.name``, of the class or one that it is built on, else under the name alone."""
    own = (table.get(f"{owner.__name__}.{name}") for owner in cls.__mro__)
    return next((entry for entry in own if entry is not None), table.get(name))


def _warn(message: str) -> None:
    warnings.warn(message, RenamedSettingWarning, stacklevel=2)


def format_difference(before: Any, now: Any, where: str = "") -> str:
    """The settings in which two sets of plain data differ: ``training.lr was 0.1, now 0.2``; empty where none does."""
    if before == now:
        return ""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [*before, *(name for name in now if name not in before)]
        pairs = [(n, before.get(n, _ABSENT), now.get(n, _ABSENT)) for n in names]
        return "; ".join(filter(None, (format_difference(b, a, f"{where}.{n}".lstrip(".")) for n, b, a in pairs)))
    was, is_ = ("not given" if value is _ABSENT else json.dumps(value) for value in (before, now))
    return f"{where} was {was}, now {is_}"


#: Stands for a missing setting, which is other than null.
_ABSENT = object()


def _explain(cls: type[BaseModel], error: ValidationError, data: dict[str, Any]) -> str:
    problems, errors = [], error.errors()
    for item in errors:
        where = dotted(cls, item["loc"])
        if item["type"] == "extra_forbidden":
            problems.append(f"unknown setting {where!r}{_hint(where, suggest_settings(cls, item['loc'], data))}")
        elif item["type"] == "too_short":
            if not any(other["loc"][: len(item["loc"])] == item["loc"] for other in errors if other is not item):
                problems.append(f"{where} needs at least {counted(item['ctx']['min_length'], 'entry')}")
        elif item["type"] == "missing":
            problems.append(f"the setting {where!r} is missing")
        elif item["type"] == "union_tag_invalid":
            named, tags = item["ctx"]["tag"], re.findall(r"'([^']*)'", item["ctx"]["expected_tags"])
            near = difflib.get_close_matches(str(named), tags, n=1)
            key = ".".join(filter(None, (where, item["ctx"]["discriminator"].strip("'_()"))))
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            problems.append(f"{key} = {named!r}: there is {', '.join(tags)}{meant}")
        elif (form := _FORMS.get(item["type"])) is not None:
            expected = f"{form} is expected, such as {example_of(cls, item['loc'])}"
            problems.append(f"{where or 'settings'} = {_shortened(item.get('input'))}: {expected}")
        elif item["type"] == "value_error":  # of several settings together: which ones, it says itself
            problems.append(": ".join(filter(None, (where, item["msg"].removeprefix("Value error, ")))))
        else:
            problems.append(f"{where or 'settings'} = {_shortened(item.get('input'))}: {item['msg']}")
    return "; ".join(problems)


#: Kinds of errors about a value that has another form than its setting, and that form.
_FORMS = {
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a mapping"),
}


def _hint(where: str, near: list[str]) -> str:
    """What may be meant by an unknown setting: `` (did you mean speed?)``; empty for nothing."""
    if not near:
        return ""
    section, _, name = near[0].rpartition(".")
    top = section.partition(".")[0]
    others = [p for p in near[1:] if p.count(".") == near[0].count(".") or p.partition(".")[0] != top]
    if section and name == where.rpartition(".")[2] and not others:
        return f" (it belongs under '{section}:', as {near[0]})"
    return f" (did you mean {' or '.join(near[:_MOST_HINTS])}?)"


#: So many settings that may be meant are named.
_MOST_HINTS = 3


def _shortened(value: object, longest: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
