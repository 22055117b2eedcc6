"""Output formats of a timeline, one file each; installed packages add theirs under ``maeum.writers``."""

from __future__ import annotations

from maeum.analysis.writers import csv_table, html_report, srt_subtitles
from maeum.analysis.writers.base import WRITERS, Writer, write_timeline
from maeum.analysis.writers.json_timeline import from_dict, to_dict

__all__ = [
    "WRITERS",
    "Writer",
    "csv_table",
    "from_dict",
    "html_report",
    "srt_subtitles",
    "to_dict",
    "write_timeline",
]
