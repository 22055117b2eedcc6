"""Typed tables in which siblings register themselves; third parties join through entry points."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from maeum.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """An entry of a table that another installed package adds.

    Args:
        name: its name in the table.
        package: the package and its version, such as ``foo 1.2``.
        problem: why it could not be loaded; None where it was.
    """

    name: str
    package: str
    problem: str | None = None


class Registry(Generic[T]):
    """A table name -> thing.

    Entry points are loaded when a name is looked up that is not in the table, or when the table is listed. One that
    cannot be loaded stops nothing: `plugins` lists it, and asking for its name is an error that says why.

    Args:
        kind: what the things are, for messages: ``corpus``, ``network``.
        group: entry-point group through which installed packages add theirs, such as ``maeum.models``.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind = kind
        self.group = group
        self._table: dict[str, T] = {}
        self._plugins: list[Plugin] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that puts the decorated thing in the table; raises ConfigError when the name is taken."""

        def put(thing: T) -> T:
            if name in self._table:
                raise ConfigError(f"the {self.kind} {name!r} is registered twice")
            self._table[name] = thing
            return thing

        return put

    def plugins(self) -> list[Plugin]:
        """What other packages add to this table, with those that could not be loaded."""
        if self._plugins is None:
            self._plugins = []  # first, as a package may look into this table while it is imported
            self._plugins.extend(self._load(point) for point in sorted(entry_points(group=self.group)))
        return self._plugins

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise self._unknown(name)
        return self._table[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._table:
            self.plugins()
        return name in self._table

    def __iter__(self) -> Iterator[str]:
        self.plugins()
        return iter(sorted(self._table))

    def __len__(self) -> int:
        self.plugins()
        return len(self._table)

    def _load(self, point: EntryPoint) -> Plugin:
        package = "an installed package" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        if point.name in self._table:
            return Plugin(point.name, package, f"there is a {self.kind} of this name already")
        try:
            self._table[point.name] = point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others, which may raise anything
            return Plugin(point.name, package, f"{type(error).__name__}: {error}")
        return Plugin(point.name, package)

    def _unknown(self, name: str) -> ConfigError:
        broken = next((plugin for plugin in self.plugins() if plugin.name == name), None)
        if broken is not None:
            return ConfigError(
                f"unknown {self.kind} {name!r}; the plug-in {broken.package} that provides it could not be loaded: "
                f"{broken.problem}",
                remedy="Update or uninstall that package.",
            )
        near = difflib.get_close_matches(name, self._table, n=1)
        return ConfigError(
            f"unknown {self.kind} {name!r}",
            remedy=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(self._table))}.",
        )


def import_siblings(package: str, folders: Iterable[str]) -> None:
    """Import every module of a package, so that each registers itself in its table.

    Args:
        package: ``__name__`` of the package.
        folders: its ``__path__``.
    """
    for module in pkgutil.iter_modules(folders):
        importlib.import_module(f"{package}.{module.name}")
