"""All networks that register themselves; import this to have the table filled."""

from __future__ import annotations

from maeum import models
from maeum.models import baselines
from maeum.models.registry import MODELS
from maeum.registry import import_siblings

__all__ = ["MODELS"]

for package in (models, baselines):
    import_siblings(package.__name__, package.__path__)
