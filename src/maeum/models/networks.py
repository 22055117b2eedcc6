"""All networks that register themselves; import this to have the table filled."""

from __future__ import annotations

from maeum.models import fe2e, mesm, mmer
from maeum.models.baselines import late_fusion, mult
from maeum.models.registry import MODELS

__all__ = ["MODELS", "fe2e", "late_fusion", "mesm", "mmer", "mult"]
