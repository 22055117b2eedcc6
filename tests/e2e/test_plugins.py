"""Packages of third parties that cannot be loaded: they stop nothing but what needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GROUPS = ("maeum.corpora", "maeum.models", "maeum.metrics", "maeum.writers")


@pytest.fixture
def broken_package(tmp_path: Path) -> Path:
    """The folder of an installed package that names an entry in every table and cannot be imported."""
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('made for an older release')\n")
    about = tmp_path / "broken_package-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 1.2\n")
    points = "\n".join(f"[{group}]\ntheirs = broken_package:THEIRS" for group in GROUPS)
    (about / "entry_points.txt").write_text(points + "\n")
    return tmp_path


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    command = [sys.executable, "-m", "maeum", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_doctor_names_a_plugin_that_cannot_be_loaded_and_ends_well(broken_package: Path):
    ended = run(broken_package, "doctor")
    for kind in ("corpus", "network", "metric", "format"):
        line = f"plug-in theirs: {kind} of broken-package 1.2, cannot be used: RuntimeError: made for an older release"
        assert line in ended.stdout
    assert ended.returncode == 0, ended.stderr


def test_analyse_works_beside_a_plugin_that_cannot_be_loaded(broken_package: Path, small_model: Path, clip: Path):
    ended = run(broken_package, "analyse", clip, "--model", small_model)
    assert (ended.returncode, ended.stderr) == (0, "")
    wanted = run(broken_package, "analyse", clip, "--model", small_model, "--format", "theirs")
    assert wanted.returncode == 2
    assert (
        "unknown format 'theirs'; the plug-in broken-package 1.2 that provides it could not be loaded" in wanted.stderr
    )
