"""The table of losses; importing it registers the losses of this folder."""

from maeum.registry import import_siblings
from maeum.training.losses.base import LOSSES

__all__ = ["LOSSES"]

import_siblings(__name__, __path__)
