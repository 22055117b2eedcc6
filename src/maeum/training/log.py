"""The log of a training: ``log.jsonl``, one line of scores an epoch, counted from 1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "log.jsonl"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log; epochs count from 1 also where an earlier version has counted from 0."""
    lines = [json.loads(line) for line in (folder / NAME).read_text(encoding="utf-8").splitlines()]
    if lines and lines[0]["epoch"] == 0:
        lines = [{**line, "epoch": line["epoch"] + 1, "best_epoch": line["best_epoch"] + 1} for line in lines]
    return lines


def append_to_log(folder: Path, line: Mapping[str, Any]) -> None:
    """Add the line of an epoch."""
    with (folder / NAME).open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
