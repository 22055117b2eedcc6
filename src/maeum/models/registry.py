"""The table of networks: each names its configuration, and is built from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from maeum.config import Config
from maeum.registry import Registry


@dataclass(frozen=True)
class ModelKind:
    """A network and the configuration that it is built from.

    Args:
        config: its configuration class; ``labels`` is the number of outputs.
        network: ``network(config)`` is an ``nn.Module`` from `Batch` to `ModelOutput`.
        title: what it is, in one line.
        hard_selection: names of parameters that get no gradient by the design of a published form, each said in
        its docs.
    """

    config: type[Config]
    network: type[nn.Module]
    title: str
    hard_selection: tuple[str, ...] = ()

    def build(self, settings: dict[str, Any]) -> nn.Module:
        """A network from plain settings; raises ConfigError on unknown ones."""
        return self.network(self.config.parse(settings))


MODELS: Registry[ModelKind] = Registry("network", "maeum.models")
