"""The words for emotions, and the only place where a label becomes a target and a target a label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from maeum.errors import ConfigError

Task = Literal["single-label", "multi-label", "dimensional"]

#: Ekman's six and neutral, in the order used throughout.
EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

_ALIASES = {
    "angry": "anger", "ang": "anger",
    "disgusted": "disgust", "dis": "disgust",
    "fearful": "fear", "afraid": "fear", "fea": "fear",
    "happy": "happiness", "joy": "happiness", "hap": "happiness",
    "sad": "sadness",
    "surprised": "surprise", "sur": "surprise",
    "neu": "neutral", "calm": "neutral",
    "excited": "excitement", "exc": "excitement",
    "frustrated": "frustration", "fru": "frustration",
    "oth": "other",
}  # fmt: skip


def canonical(name: str) -> str:
    """The canonical spelling of an emotion word: ``joy`` and ``Happy`` are ``happiness``, ``calm`` is ``neutral``."""
    word = name.strip().lower()
    return _ALIASES.get(word, word)


@dataclass(frozen=True)
class LabelSet:
    """Names of the targets and what kind of target they make.

    - ``single-label``: exactly one name applies; the target is its index, int64, shape ``()``.
    - ``multi-label``: any number applies; the target is 0/1 per name, float32, shape ``(labels,)``.
    - ``dimensional``: each name is a scale with a real value; float32, shape ``(labels,)``, NaN where an item has no
      value; ``ranges`` gives each scale's lowest and highest value in the units of its corpus.
    """

    names: tuple[str, ...]
    task: Task = "single-label"
    ranges: tuple[tuple[float, float], ...] | None = None

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ConfigError(f"label names must be distinct and at least one, not {list(self.names)}")
        if self.task not in ("single-label", "multi-label", "dimensional"):
            raise ConfigError(f"unknown task {self.task!r}", remedy="Use single-label, multi-label or dimensional.")
        if self.task == "dimensional" and (self.ranges is None or len(self.ranges) != len(self.names)):
            raise ConfigError("a dimensional label set needs one (lowest, highest) range per name")
        if wrong := [pair for pair in self.ranges or () if not -math.inf < pair[0] < pair[1] < math.inf]:
            raise ConfigError(f"the range {wrong[0]} does not go from a lower to a higher value")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def scales(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each scale; nothing where labels are no scales."""
        return dict(zip(self.names, self.ranges or (), strict=True)) if self.task == "dimensional" else {}

    def index(self, name: str) -> int:
        """Position of a name or of one of its aliases; raises ConfigError on an unknown one."""
        for word in (name, canonical(name)):
            if word in self.names:
                return self.names.index(word)
        raise ConfigError(f"unknown label {name!r}", remedy=f"The labels are {', '.join(self.names)}.")

    def encode(self, value: str | Sequence[str] | Mapping[str, float]) -> Tensor:
        """Target tensor of a label.

        Args:
            value: a name (single-label), names (multi-label), or name -> value of some of the scales (dimensional).

        Raises:
            ConfigError: on an unknown name, no value at all, or a value outside its range.
        """
        if self.task == "single-label":
            if not isinstance(value, str):
                raise ConfigError(f"a single-label target is one name, not {value!r}")
            return torch.tensor(self.index(value))
        target = torch.zeros(len(self.names))
        if self.task == "multi-label":
            names = [value] if isinstance(value, str) else list(value)
            for name in names:
                target[self.index(name)] = 1.0
            return target
        if not isinstance(value, Mapping) or not value or set(value) - set(self.names):
            raise ConfigError(f"a dimensional target has values of {', '.join(self.names)}, not {value!r}")
        target.fill_(math.nan)
        for i, (name, (low, high)) in enumerate(self.scales.items()):
            if name not in value:
                continue
            number = float(value[name])
            if not (math.isfinite(number) and low <= number <= high):
                raise ConfigError(f"{name} = {number} is outside {low}..{high}")
            target[i] = number
        return target

    def decode(self, target: Tensor) -> str | list[str] | dict[str, float]:
        """The label that a target tensor stands for; the inverse of `encode`."""
        if self.task == "single-label":
            return self.names[int(target)]
        if self.task == "multi-label":
            return [name for name, on in zip(self.names, target.tolist(), strict=True) if on > 0.5]
        pairs = zip(self.names, target.tolist(), strict=True)
        return {name: number for name, number in pairs if not math.isnan(number)}

    def activate(self, logits: Tensor) -> Tensor:
        """Model outputs ``(..., labels)`` as probabilities, or as values in range for dimensional targets."""
        if self.task == "single-label":
            return logits.softmax(-1)
        if self.task == "multi-label":
            return logits.sigmoid()
        assert self.ranges is not None
        low, high = torch.tensor(self.ranges, dtype=logits.dtype, device=logits.device).unbind(-1)
        return low + (high - low) * logits.sigmoid()

    def to_dict(self) -> dict[str, object]:
        """A JSON-able form, read back by `from_dict`."""
        return {"names": list(self.names), "task": self.task, "ranges": self.ranges and [list(r) for r in self.ranges]}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> LabelSet:
        """The label set that `to_dict` wrote; raises ConfigError when it is none."""
        names, task, ranges = data.get("names"), data.get("task", "single-label"), data.get("ranges")
        if not isinstance(names, Sequence) or isinstance(names, str):
            raise ConfigError(f"a label set needs a list of names, not {names!r}")
        try:
            pairs = tuple((float(a), float(b)) for a, b in ranges) if isinstance(ranges, Sequence) else None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"the ranges of a label set are pairs of numbers, not {ranges!r}") from error
        return cls(tuple(str(n) for n in names), task, pairs)  # type: ignore[arg-type]


EKMAN = LabelSet(EMOTIONS)
