"""The evidence of the papers, by the names that the command line knows it by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from maeum.experiments import attention, study_features, study_tables
from maeum.experiments.study import Page, Study

#: Name -> what makes the page of a study: (study, folder of runs, device, console).
REPRODUCTIONS: dict[str, Callable[[Study, Path | str, str, Console | None], Page]] = {
    "mesm/table": study_tables.table,
    "mesm/top-p": study_tables.top_p,
    "mesm/ablation": study_tables.ablation,
    "mesm/attention": attention.attention,
    "mmer/table": study_tables.table,
    "mmer/ablation": study_tables.parts,
    "mmer/transcripts": study_tables.transcripts,
    "mmer/confusion": study_features.confusion,
    "mmer/features": study_features.features,
}

__all__ = ["REPRODUCTIONS"]
