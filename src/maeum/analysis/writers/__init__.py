"""Output formats of a timeline, one file each; installed packages add theirs under ``maeum.writers``."""

from __future__ import annotations

from maeum.analysis.writers.base import WRITERS, Writer, write_timeline
from maeum.analysis.writers.json_timeline import from_dict, to_dict
from maeum.registry import import_siblings

__all__ = ["WRITERS", "Writer", "from_dict", "to_dict", "write_timeline"]

import_siblings(__name__, __path__)
