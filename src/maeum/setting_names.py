"""Which setting a misspelt name may mean: the schema's own names, their usual other names, and closeness."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

#: Names that other projects use -> names used here, written without underscores.
_OTHER_NAMES = {
    "amp": ("precision",),
    "architecture": ("model",),
    "attentiondropout": ("dropout",),
    "attentionheads": ("heads",),
    "bs": ("batch_size",),
    "checkpointing": ("recompute",),
    "classweight": ("class_weights",),
    "clip": ("clip_norm",),
    "criterion": ("loss",),
    "data": ("train",),
    "dataset": ("train", "store"),
    "decay": ("weight_decay",),
    "depth": ("layers",),
    "dmodel": ("dim",),
    "dropoutrate": ("dropout",),
    "dtype": ("precision",),
    "earlystopping": ("patience",),
    "embeddim": ("dim",),
    "embeddingsize": ("dim",),
    "encoder": ("pretrained",),
    "eta": ("lr",),
    "fp16": ("precision",),
    "gradclip": ("clip_norm",),
    "gradientaccumulation": ("accumulate",),
    "gradientaccumulationsteps": ("accumulate",),
    "gradientcheckpointing": ("recompute",),
    "gradientclipping": ("clip_norm",),
    "hidden": ("dim",),
    "hiddendim": ("dim",),
    "hiddensize": ("dim",),
    "l2": ("weight_decay",),
    "learningrate": ("lr",),
    "lrscheduler": ("schedule",),
    "maxgradnorm": ("clip_norm",),
    "maxlength": ("max_tokens",),
    "metric": ("score",),
    "mixedprecision": ("precision",),
    "modelname": ("model",),
    "monitor": ("score",),
    "net": ("model", "network"),
    "nheads": ("heads",),
    "nlayers": ("layers",),
    "numheads": ("heads",),
    "numlayers": ("layers",),
    "optim": ("optimizer",),
    "randomseed": ("seed",),
    "scheduler": ("schedule",),
    "score": ("metrics",),
    "smoothing": ("label_smoothing",),
    "stepsize": ("lr",),
    "validation": ("dev",),
    "val": ("dev",),
    "vocabsize": ("vocabulary",),
    "warmupratio": ("warmup",),
    "warmupsteps": ("warmup",),
    "wd": ("weight_decay",),
    "width": ("dim",),
}
#: How like the given name a setting beside it must be, and one elsewhere in the schema.
_LIKE_SIBLING, _LIKE_ELSEWHERE = 0.6, 0.8


def suggest_settings(root: type[BaseModel], location: Sequence[int | str], data: Any = None) -> list[str]:
    """Dotted paths of the settings that an unknown one may mean, the shortest first; none where nothing is like it.

    Of several only those are given that share most of its place: of an entry's ``lr`` that entry's own.

    Args:
        root: the class of the settings.
        location: where the unknown setting is, such as ``("training", "learning_rate")``.
        data: the settings as they were read, which may say by which class a plain mapping among them is read.
    """
    *parents, name = location
    owners, parts = _follow(root, parents)
    beside = {".".join((*parts, field)): field for owner in owners for field in owner.model_fields}
    sections = [_walk_sections(owner, _at(data, parents), tuple(parts)) for owner in owners]
    paths = chain(setting_paths(root), _walk_sections(root, data, ()), *sections)
    anywhere = {path: path.rpartition(".")[2] for path in paths}
    plain = _plain(str(name))
    for found in (
        _same(beside, plain),
        _other_name(beside, plain),
        _same(anywhere, plain),
        _other_name(anywhere, plain),
        _close(beside, plain, _LIKE_SIBLING),
        _close(anywhere, plain, _LIKE_ELSEWHERE),
    ):
        if found:
            shared = {path: _shared(path.split("."), parts) for path in found}
            nearest = [path for path in found if shared[path] == max(shared.values())]
            return sorted(nearest, key=lambda path: path.count("."))
    return []


def dotted(root: type[BaseModel], location: Sequence[int | str]) -> str:
    """``network.dim`` of a place in an error: without the members of unions, which pydantic names too."""
    return ".".join(_follow(root, location)[1])


def setting_paths(root: type[BaseModel]) -> list[str]:
    """Dotted paths of all settings of a class and of the classes that it holds."""
    return list(dict.fromkeys(_walk(root, ())))


def with_places(path: tuple[str, ...], annotation: Any) -> tuple[str, ...]:
    """The path of what a list or mapping holds: ``N`` stands for a place in a list, ``NAME`` for a key."""
    for candidate in (annotation, *get_args(annotation)):
        origin = get_origin(candidate)
        if origin in (tuple, list):
            return (*path, "N")
        if origin is dict:
            return (*path, "NAME")
    return path


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    """The settings classes that a field of this type may hold: itself or its kinds, members of unions and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        kinds: Callable[[], tuple[type[BaseModel], ...]] = getattr(annotation, "kinds", tuple)
        return list(kinds()) or [annotation]
    return [model for argument in get_args(annotation) for model in nested_models(argument)]


def example_of(root: type[BaseModel], location: Sequence[int | str]) -> str:
    """What may stand at a place, as a short text in YAML: ``[{store: ...}]``."""
    annotation: Any = root
    for part in location:
        if isinstance(part, int):
            annotation = _element(annotation)
            continue
        fields = [field for owner in nested_models(annotation) if (field := owner.model_fields.get(part)) is not None]
        if fields:
            annotation = fields[0].annotation
        elif get_origin(annotation) is dict:
            annotation = _element(annotation)
    return _example(annotation)


def _element(annotation: Any) -> Any:
    """The type of what a list or mapping holds; the type itself where it is neither."""
    for candidate in (annotation, *get_args(annotation)):
        if get_origin(candidate) in (tuple, list):
            return get_args(candidate)[0]
        if get_origin(candidate) is dict:
            return get_args(candidate)[1]
    return annotation


def _example(annotation: Any) -> str:
    for candidate in (annotation, *get_args(annotation)):
        if get_origin(candidate) in (tuple, list):
            return f"[{_example(_element(candidate))}]"
        if get_origin(candidate) is dict:
            return f"{{NAME: {_example(_element(candidate))}}}"
    if get_origin(annotation) is Literal:
        return str(get_args(annotation)[0])
    if models := nested_models(annotation):
        fields = models[0].model_fields
        required = [name for name, field in fields.items() if field.is_required()]
        if required:
            return "{" + ", ".join(f"{name}: ..." for name in required) + "}"
        name, field = next(iter(fields.items()))
        value = field.get_default(call_default_factory=True, validated_data={})
        return f"{{{name}: {json.dumps(value, default=str)}}}"
    return "..."


def _shared(path: Sequence[str], place: Sequence[str]) -> int:
    """How many parts a path has in common with a place, from the start."""
    return next((i for i, (one, other) in enumerate(zip(path, place, strict=False)) if one != other),
                min(len(path), len(place)))  # fmt: skip


def _same(paths: dict[str, str], plain: str) -> list[str]:
    return [path for path, name in paths.items() if _plain(name) == plain]


def _other_name(paths: dict[str, str], plain: str) -> list[str]:
    """Settings that other projects call so."""
    return [path for path, name in paths.items() if name in _OTHER_NAMES.get(plain, ())]


def _close(paths: dict[str, str], plain: str, least: float) -> list[str]:
    """Settings whose name, or else whose usual other name, is like this one."""
    near = difflib.get_close_matches(plain, sorted({_plain(name) for name in paths.values()}), n=1, cutoff=least)
    if near:
        return [path for path, name in paths.items() if _plain(name) in near]
    other = difflib.get_close_matches(plain, sorted(_OTHER_NAMES), n=1, cutoff=_LIKE_ELSEWHERE)
    return _other_name(paths, other[0]) if other else []


def _walk(owner: type[BaseModel], parents: tuple[str, ...], inside: tuple[type, ...] = ()) -> Iterator[str]:
    if owner in inside:
        return
    for name, field in owner.model_fields.items():
        yield ".".join((*parents, name))
        for model in nested_models(field.annotation):
            yield from _walk(model, with_places((*parents, name), field.annotation), (*inside, owner))


def _walk_sections(owner: type[BaseModel], data: Any, parents: tuple[str, ...]) -> Iterator[str]:
    """Paths of the settings in the plain mappings of a class; see `maeum.config.Config.sections`."""
    sections: Callable[[Any], Mapping[str, type[BaseModel]]] = getattr(owner, "sections", lambda _: {})
    for name, section in sections(data).items() if isinstance(data, Mapping) else ():
        yield from _walk(section, (*parents, name))


def _at(data: Any, location: Sequence[int | str]) -> Any:
    """What plain data holds at a place; None where it holds nothing there."""
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _follow(root: type[BaseModel], location: Sequence[int | str]) -> tuple[list[type[BaseModel]], list[str]]:
    """The settings classes at a place, and the place without the members of unions."""
    owners: list[type[BaseModel]] = [root]
    parts: list[str] = []
    for part in location:
        fields = [field for owner in owners if (field := owner.model_fields.get(str(part))) is not None]
        members = [owner for owner in owners if _is_member(owner, part)]
        if fields:
            owners = [model for field in fields for model in nested_models(field.annotation)]
        elif members:
            owners = members
            continue
        parts.append(str(part))
    return owners, parts


def _is_member(owner: type[BaseModel], part: int | str) -> bool:
    """Whether a part of a place names this member of a union: by its tag, or by its class."""
    return part == owner.__name__ or any(part in get_args(field.annotation) for field in owner.model_fields.values())


def _plain(name: str) -> str:
    """A name without what spellings differ in: ``batchSize``, ``batch-size`` and ``batch_size`` are equal."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")
