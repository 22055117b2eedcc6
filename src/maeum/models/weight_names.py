"""Names of weights in model folders that were saved by earlier releases."""

from __future__ import annotations

import pickle
import re
from collections.abc import Container, Mapping

from torch import Tensor

#: Beginnings of names, earlier -> present.
_RENAMED = (
    (r"spell\.", "ctc_head."),
    (r"view\.", "projection."),
    (r"twin_view\.", "view_projection."),
    (r"stand_in$", "absent_text"),
    (r"voice_stand_in$", "absent_speech"),
)


def with_present_names(weights: Mapping[str, Tensor], known: Container[str]) -> dict[str, Tensor]:
    """The weights by the names that a network has.

    Args:
        weights: as saved.
        known: the network's names; a weight of such a name keeps it.
    """
    return {name if name in known else _present_name(name): tensor for name, tensor in weights.items()}


def unreadable_reason(error: Exception) -> str:
    """Why a file of weights cannot be read, in one line, without torch's advice to run whatever code is in it."""
    if isinstance(error, pickle.UnpicklingError):
        return "it is damaged, or holds more than tensors"
    return (str(error).splitlines() or [type(error).__name__])[0]


def _present_name(name: str) -> str:
    for pattern, present in _RENAMED:
        if re.match(pattern, name):
            return re.sub(pattern, present, name, count=1)
    return name
