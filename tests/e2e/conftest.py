"""The command line as a user calls it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maeum.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def maeum(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs ``maeum ARGUMENTS`` in this process."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["maeum", *(str(a) for a in arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, out, err)

    return run


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Starts ``maeum ARGUMENTS`` as a process of its own."""

    def begin(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "maeum", *(str(a) for a in arguments)]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests that run in the background (nohup, &) ignore Ctrl-C, and so would what they start.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    return begin


@pytest.fixture
def clip(tmp_path: Path, astronaut: Any, make_media: Callable[..., Path]) -> Path:
    """One second of a face, without sound."""
    face = np.ascontiguousarray(astronaut[40:200, 150:310])
    return make_media(tmp_path / "clip.mkv", [face] * 5, fps=5)
