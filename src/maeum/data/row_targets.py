"""Targets of a store's rows: which of its labels or scales are learned, as tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maeum.corpora.targets import Target
from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.labels import LabelSet
from maeum.wording import counted


class RowTargets:
    """Encodes what is learned of each row.

    Args:
        store: whose rows.
        target: one of its targets by name, or one of your own; the store's labels when None.
        label_set: what targets are made for; the store's own, or the target's, when None.

    Raises:
        ConfigError: when there is no such target, or it does not fit the label set.
    """

    def __init__(self, store: Store, target: str | Target | None, label_set: LabelSet | None) -> None:
        self.store = store
        self.target = None if target is None else store.target(target)
        own = store.label_set
        if self.target is not None:
            own = self.target.label_set(own, store.scales, store.other_labels)
            if label_set is not None:
                _check_target(own, label_set, store)
        self.label_set = label_set or own
        _check_scales(own, self.label_set, store)

    def __call__(self, row: Mapping[str, Any]) -> tuple[Tensor | None, str | None]:
        """The row's target, None where it has none; and the reason why the row cannot be used, if so."""
        label = row["label"]
        if self.target is not None and self.target.of is not None:
            label = (row["other_labels"] or {}).get(self.target.of)
        if self.target is not None and self.target.scales:
            return self._scales(row["scales"] if row["scales"] is not None else label)
        if label is None:
            return None, None
        if self.label_set.task == "dimensional" and isinstance(label, dict):
            return self._scales(label)
        if self.target is not None:
            names = {word: self.target.name(word) for word in ([label] if isinstance(label, str) else label)}
            if isinstance(label, str) and names[label] is None:
                return None, f"{label} is not part of the target"
            known = list(dict.fromkeys(name for name in names.values() if name is not None))
            label = known[0] if isinstance(label, str) else known
        if self.label_set.task == "single-label" and isinstance(label, list):
            if len(label) != 1:
                return None, f"{counted(len(label), 'label')} where one is wanted"
            label = label[0]
        try:
            return self.label_set.encode(label), None
        except ConfigError as error:
            remedy = None
            if self.target is None and (offers := ", ".join(self.store.manifest.get("targets", {}))):
                remedy = f"Name a target (target in a recipe, --target where models are scored): {offers}."
            raise ConfigError(
                f"the label of {row['id']} does not fit: {error}", item=self.store.folder, remedy=remedy
            ) from error

    def _scales(self, values: Mapping[str, float] | None) -> tuple[Tensor | None, str | None]:
        if values is None:
            return None, None
        given = {name: values[name] for name in self.label_set.names if name in values}
        if not given:
            return None, f"has no value for {', '.join(self.label_set.names)}"
        try:
            return self.label_set.encode(given), None
        except ConfigError as error:
            return None, error.problem


def _check_target(own: LabelSet, wanted: LabelSet, store: Store) -> None:
    """Raise ConfigError when a target is of another kind than a model's labels."""
    scales = own.task == "dimensional", wanted.task == "dimensional"
    if set(own.names) - set(wanted.names) or scales[0] != scales[1] or (all(scales) and len(own) != len(wanted)):
        raise ConfigError(
            f"the target makes {', '.join(own.names)} ({own.task}), not {', '.join(wanted.names)} ({wanted.task})",
            item=store.folder,
            remedy="Choose a target whose classes or scales are the model's.",
        )


def _check_scales(own: LabelSet, wanted: LabelSet, store: Store) -> None:
    """Raise ConfigError when a scale has another range in the store than in the wanted label set."""
    for name, (low, high) in own.scales.items():
        if name in wanted.scales and wanted.scales[name] != (low, high):
            wanted_range = "{:g} to {:g}".format(*wanted.scales[name])
            raise ConfigError(
                f"its {name} goes from {low:g} to {high:g}, not from {wanted_range}",
                item=store.folder,
                remedy="Prepare the corpus with values on the model's scales.",
            )


def check_sessions(store: Store, sessions: Sequence[str]) -> None:
    """Raise ConfigError when the store has none of a session's items."""
    known = {row["session"] for row in store.rows} - {None}
    if unknown := [name for name in sessions if name not in known]:
        raise ConfigError(f"has no session {unknown[0]!r}", item=store.folder,
                          remedy=f"Its sessions: {', '.join(sorted(known)) or 'none'}.")  # fmt: skip
