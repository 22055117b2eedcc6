"""The table of networks: each names its configuration, and is built from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from maeum.config import Config
from maeum.errors import ModelError
from maeum.models.network import Network
from maeum.registry import Registry


@dataclass(frozen=True)
class ModelKind:
    """A network and the configuration that it is built from.

    Args:
        config: its configuration class; ``labels`` is the number of outputs.
        network: ``network(config)`` is a `Network`.
        title: what it is, in one line.
    """

    config: type[Config]
    network: type[Network]
    title: str

    def build(self, settings: dict[str, Any]) -> Network:
        """A network from plain settings.

        Raises:
            ConfigError: on unknown or impossible settings.
            ModelError: when what is registered is no `Network`, or reads nothing.
        """
        build: Any = self.network
        config = self.config.parse(settings)
        network = build(config)
        name = self.network.__name__
        if not isinstance(network, Network):
            raise ModelError(f"{name} is no maeum.models.network.Network", remedy="Make it a subclass.")
        if not getattr(network, "modalities", ()):
            raise ModelError(f"{name} declares no modalities", remedy="Set modalities, such as ('speech', 'text').")
        network.built_from = config
        return network


MODELS: Registry[ModelKind] = Registry("network", "maeum.models")
