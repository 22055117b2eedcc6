"""The evidence of the papers, by the names that the command line knows it by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from maeum.studies import attention, features, tables
from maeum.studies.study import Study, StudyPage

#: Name -> what makes the page of a study: (study, folder of runs, device, console).
REPRODUCTIONS: dict[str, Callable[[Study, Path | str, str, Console | None], StudyPage]] = {
    "mesm/table": tables.table,
    "mesm/top-p": tables.top_p,
    "mesm/ablation": tables.ablation,
    "mesm/attention": attention.attention,
    "mmer/table": tables.table,
    "mmer/ablation": tables.parts,
    "mmer/transcripts": tables.transcripts,
    "mmer/confusion": features.confusion,
    "mmer/features": features.features,
}

__all__ = ["REPRODUCTIONS"]
