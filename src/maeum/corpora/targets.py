"""What of a prepared corpus is to be learned: which of its labels and under which names, or which of its scales."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from maeum.config import Config
from maeum.errors import ConfigError
from maeum.labels import LabelSet, canonical


class Target(Config):
    """Classes or scales made from what a store keeps of each item."""

    labels: tuple[str, ...] = ()
    """Names of the classes, in their order."""
    merge: dict[str, str] = Field(default_factory=dict)
    """Label of the store -> the class it counts as, such as ``{excitement: happiness}``. Labels that are neither a
    class nor merged into one are not part of the target."""
    of: str | None = Field(default=None, exclude_if=lambda of: of is None)
    """Kind of label that is meant, such as ``sentiment``; the main label of each item when null."""
    scales: tuple[str, ...] = ()
    """Names of scales, such as valence, whose values are predicted instead of classes."""

    def label_set(
        self, labels: LabelSet, scales: LabelSet | None, others: Mapping[str, LabelSet] | None = None
    ) -> LabelSet:
        """The label set of what is learned.

        Args:
            labels: what the store's labels are.
            scales: its scales; None where it has none.
            others: its labels of other kinds, by kind.

        Raises:
            ConfigError: when classes and scales are requested at once, or neither, or something that the store lacks.
        """
        if bool(self.labels) == bool(self.scales):
            raise ConfigError("a target has either labels or scales", item=f"target {self.model_dump()}")
        if self.scales:
            if scales is None and labels.task == "dimensional":
                scales = labels
            known = {} if scales is None else dict(zip(scales.names, scales.ranges or (), strict=True))
            if missing := [name for name in self.scales if name not in known]:
                raise ConfigError(f"the store has no scale {missing[0]!r}",
                                  remedy=f"Its scales: {', '.join(known) or 'none'}.")  # fmt: skip
            return LabelSet(self.scales, "dimensional", tuple(known[name] for name in self.scales))
        if self.of is not None:
            if self.of not in (others or {}):
                raise ConfigError(f"the store has no labels of the kind {self.of!r}",
                                  remedy=f"Its other kinds: {', '.join(others or {}) or 'none'}.")  # fmt: skip
            assert others is not None
            labels = others[self.of]
        if labels.task == "dimensional":
            raise ConfigError("the store has scales, not labels", remedy=f"Its scales: {', '.join(labels.names)}.")
        for name in (*self.merge, *(n for n in self.labels if n not in self.merge.values())):
            labels.index(name)
        chosen = LabelSet(self.labels, labels.task)
        for name in self.merge.values():
            chosen.index(name)
        return chosen

    def name(self, label: str) -> str | None:
        """The class that a label of the store counts as; None when it is not part of the target."""
        merged = {canonical(word): name for word, name in self.merge.items()}
        wanted = canonical(merged.get(canonical(label), label))
        return next((name for name in self.labels if canonical(name) == wanted), None)

    def counts(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Items of each class, from the items of each label."""
        names = {label: self.name(label) for label in counts}
        return {name: sum(n for label, n in counts.items() if names[label] == name) for name in self.labels}
