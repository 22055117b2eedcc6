from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ASK = "from maeum.native import library, missing; print(library('cascade') is not None, missing('cascade'))"
COMPILER = shutil.which("c++") or shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def ask(cache: Path, **environment: str) -> subprocess.Popen[str]:
    settings = {k: v for k, v in os.environ.items() if k not in {"CXX", "MAEUM_NATIVE"}}
    settings |= {"XDG_CACHE_HOME": str(cache)} | environment
    return subprocess.Popen([sys.executable, "-c", ASK], env=settings, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return said.strip()


@needs_compiler
def test_compiled_once_by_processes_that_start_together(tmp_path):
    assert {answer(p) for p in [ask(tmp_path), ask(tmp_path)]} == {"True None"}
    (compiled,) = (tmp_path / "maeum").iterdir()
    before = compiled.stat().st_mtime_ns
    assert answer(ask(tmp_path, PATH="/nowhere")) == "True None", "needs no compiler any more"
    assert compiled.stat().st_mtime_ns == before


def test_can_be_turned_off(tmp_path):
    assert answer(ask(tmp_path, MAEUM_NATIVE="0")) == "False turned off by MAEUM_NATIVE=0"
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_says_so(tmp_path):
    said = answer(ask(tmp_path, PATH="/nowhere"))
    assert said.startswith("False no C++ compiler")
    assert "apt install" in said


def test_a_compiler_that_fails_is_named(tmp_path):
    bad = tmp_path / "c++"
    bad.write_text("#!/bin/sh\necho 'internal error: out of luck' >&2\nexit 1\n")
    bad.chmod(0o755)
    said = answer(ask(tmp_path / "cache", PATH=f"{tmp_path}:/bin:/usr/bin"))
    assert said == f"False {bad} failed: internal error: out of luck"


def test_a_place_where_nothing_can_be_kept_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be made or loaded" in answer(ask(tmp_path / "file"))


@pytest.mark.skipif(sys.platform == "win32", reason="no kernels there")
def test_a_user_without_a_home_is_told():
    unknown = "import pwd\ndef getpwuid(uid): raise KeyError(uid)\npwd.getpwuid = getpwuid\n"  # as in containers
    settings = {k: v for k, v in os.environ.items() if k not in {"HOME", "XDG_CACHE_HOME", "MAEUM_NATIVE"}}
    done = subprocess.run(
        [sys.executable, "-c", unknown + ASK], env=settings, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False no home folder to keep them in: set HOME or XDG_CACHE_HOME"


@needs_compiler
def test_a_damaged_file_is_made_anew(tmp_path):
    answer(ask(tmp_path))
    (compiled,) = (tmp_path / "maeum").iterdir()
    compiled.write_bytes(b"no code")
    assert answer(ask(tmp_path)) == "True None"
