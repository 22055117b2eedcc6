"""Checkpoints are whole or not there, and what kept one from being written is said."""

from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from maeum.errors import StoreError
from maeum.training import checkpoint
from maeum.training.checkpoint import save_atomically


@pytest.mark.parametrize(
    ("error", "raised"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "full"), StoreError)]
)
def test_what_stops_a_checkpoint_is_not_hidden_by_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, raised: type[BaseException]
) -> None:
    def save(state: object, file: object) -> None:
        try:
            raise error
        finally:
            try:
                raise ValueError("something between")
            except ValueError:
                raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")  # noqa: B904

    (tmp_path / "last.pt").write_bytes(b"before")
    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(raised):
        save_atomically({}, tmp_path / "last.pt")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_ctrl_c_while_torch_writes_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(io.BytesIO):
        def write(self, data: Any) -> int:
            if self.tell():
                raise KeyboardInterrupt
            return super().write(data)

    monkeypatch.setattr(checkpoint, "atomic_write", lambda _: nullcontext(Stopped()))
    with pytest.raises(KeyboardInterrupt):
        save_atomically({"a": torch.zeros(300_000)}, Path("last.pt"))


def test_another_error_of_the_writer_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(*_: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(RuntimeError, match="no such operator"):
        save_atomically({}, tmp_path / "last.pt")
