"""Training curves in TensorBoard, where the extra ``track`` is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from maeum.errors import ConfigError


def tensorboard(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """A function that draws every number of a line of the training log, by epoch, into ``folder``.

    Raises:
        ConfigError: when TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "TensorBoard is not installed", item="tensorboard", remedy="Run `pip install 'maeum[track]'`."
        ) from error
    writer = SummaryWriter(str(folder))

    def draw(line: Mapping[str, Any]) -> None:
        for name, value in line.items():
            if isinstance(value, int | float) and name != "epoch":
                writer.add_scalar(name, value, line["epoch"])
        writer.flush()

    return draw
