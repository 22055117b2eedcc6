"""What an exact continuation of a training rests on: seeds, and files that are whole or not there."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from maeum.files import atomic_write


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries below still draw from the global generator
    torch.manual_seed(seed)


def save_atomically(state: object, path: Path) -> None:
    """``torch.save`` that a kill or a full disk cannot leave half-written.

    Raises:
        StoreError: when the file cannot be written.
    """
    with atomic_write(path) as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch's own writer hides why: "[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0"
            raise _hidden_reason(error) or error from None


def _hidden_reason(error: BaseException) -> BaseException | None:
    """What an error came up in place of: what the disk refused, or Ctrl-C; None where it is neither."""
    reason = error.__context__
    while reason is not None and not isinstance(reason, OSError | KeyboardInterrupt):
        reason = reason.__context__
    return reason
