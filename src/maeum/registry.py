"""Typed tables in which siblings register themselves; third parties join through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from maeum.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table name -> thing.

    Args:
        kind: what the things are, for messages: ``corpus``, ``model``.
        group: entry-point group through which installed packages add theirs, such as ``maeum.models``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._table: dict[str, T] = {}
        self._entry_points_read = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that puts the decorated thing in the table; raises ConfigError when the name is taken."""

        def put(thing: T) -> T:
            if name in self._table:
                raise ConfigError(f"the {self.kind} {name!r} is registered twice")
            self._table[name] = thing
            return thing

        return put

    def __getitem__(self, name: str) -> T:
        self._read_entry_points()
        if name not in self._table:
            near = difflib.get_close_matches(name, self._table, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(self._table))}."
            raise ConfigError(f"unknown {self.kind} {name!r}", remedy=hint)
        return self._table[name]

    def __contains__(self, name: str) -> bool:
        self._read_entry_points()
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        self._read_entry_points()
        return iter(sorted(self._table))

    def __len__(self) -> int:
        self._read_entry_points()
        return len(self._table)

    def _read_entry_points(self) -> None:
        if self._entry_points_read:
            return
        self._entry_points_read = True
        for point in entry_points(group=self.group):
            if point.name in self._table:
                continue
            try:
                thing = point.load()
            except (ImportError, AttributeError) as error:
                self._entry_points_read = False
                package = "an installed package" if point.dist is None else f"the package {point.dist.name}"
                raise ConfigError(f"the {self.kind} of {package} cannot be loaded ({error})", item=point.name,
                                  remedy="Update or uninstall that package.") from error  # fmt: skip
            self._table.setdefault(point.name, thing)
