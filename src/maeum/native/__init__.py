"""Kernels in C++, compiled for this processor on first use where a compiler is installed.

Without a compiler PyTorch and NumPy give the same results, only more slowly; dropout alone draws other values. The
compiled file lies in
``$XDG_CACHE_HOME/maeum`` (``~/.cache/maeum``), named by its source and by the processor's instruction set, so that
machines that share a home folder do not share code. ``MAEUM_NATIVE=0`` turns the kernels off.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

_FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fno-math-errno", "-fno-trapping-math")
#: Kernels that divide their work among threads do so with OpenMP, in the threads that PyTorch has already.
#: Apple's compiler has none: dropout then runs in one thread.
_MORE_FLAGS = {"sparse": ("-fopenmp",), "dropout": () if sys.platform == "darwin" else ("-fopenmp",)}
_COMPILERS = ("c++", "g++", "clang++")
_COMPILE_S = 120


class Unavailable(Exception):
    """Why there are no kernels; its text is for the user."""


class Broken(Unavailable):
    """There should be kernels, but something failed."""


def library(name: str) -> ctypes.CDLL | None:
    """The kernels of ``<name>.cpp`` beside this file; None where there are none, see `missing`."""
    return _outcome(name)[0]


def missing(name: str) -> str | None:
    """Why `library` gives None; None when it does not."""
    return _outcome(name)[1]


def broken(name: str) -> bool:
    """Whether `library` gives None because a compiler that is installed failed."""
    return _outcome(name)[2]


@cache
def _outcome(name: str) -> tuple[ctypes.CDLL | None, str | None, bool]:
    try:
        return _load(name), None, False
    except Unavailable as why:
        return None, str(why), isinstance(why, Broken)


@cache
def _instructions() -> str:
    """What this processor can do, as text that differs where code may."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.platform()} {platform.processor()}"
    return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def _load(name: str) -> ctypes.CDLL:
    if os.environ.get("MAEUM_NATIVE", "1") == "0":
        raise Unavailable("turned off by MAEUM_NATIVE=0")
    if os.name == "nt":  # functions would have to be exported, and GCC there does not align the stack for vectors
        raise Unavailable("not made for Windows")
    source = Path(__file__).with_name(f"{name}.cpp")
    flags = (*_FLAGS, *_MORE_FLAGS.get(name, ()))
    key = "\n".join((source.read_text(encoding="utf-8"), *flags, platform.machine(), _instructions()))
    folder = _folder()
    compiled = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if compiled.exists():
        try:
            return ctypes.CDLL(str(compiled))
        except OSError:  # damaged: made anew
            pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _compile(source, compiled, flags)
        return ctypes.CDLL(str(compiled))
    except OSError as error:
        raise Broken(f"{compiled} cannot be made or loaded: {error}") from error


def _folder() -> Path:
    """Where compiled files are kept."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maeum"
    except RuntimeError as error:
        raise Unavailable("no home folder to keep them in: set HOME or XDG_CACHE_HOME") from error


def _compile(source: Path, compiled: Path, flags: tuple[str, ...]) -> None:
    """Whole or not at all: several processes may do this at once."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), *_COMPILERS))), None)
    if compiler is None:
        raise Unavailable("no C++ compiler is installed (on Debian: apt install g++)")
    with tempfile.TemporaryDirectory(dir=compiled.parent, prefix="compiling-") as folder:
        made = Path(folder) / compiled.name
        try:
            run = subprocess.run(
                [compiler, *flags, "-o", str(made), str(source)],
                capture_output=True, text=True, errors="replace", timeout=_COMPILE_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Broken(f"{compiler} took more than {_COMPILE_S} s") from error
        if run.returncode:
            raise Broken(f"{compiler} failed: {(run.stderr.strip() or 'without a word').splitlines()[0]}")
        made.replace(compiled)
