"""Reading members of zip archives."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from maeum.archives import archive_of, member_names, read_member


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "faces.ZIP"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("in/a.txt", "first")
    return path


def test_a_path_leads_into_an_archive(archive: Path):
    assert archive_of(archive / "in" / "a.txt") == archive
    assert archive_of(archive) is None
    assert archive_of(archive.parent / "no" / "a.txt") is None
    assert member_names(archive) == ["in/a.txt"]
    assert read_member(archive, archive / "in" / "a.txt") == b"first"
    with pytest.raises(KeyError):
        read_member(archive, archive / "b.txt")


def test_a_changed_archive_is_read_anew(archive: Path):
    assert read_member(archive, archive / "in" / "a.txt") == b"first"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("in/a.txt", "second")
    os.utime(archive, ns=(1, 1))
    assert read_member(archive, archive / "in" / "a.txt") == b"second"
