from __future__ import annotations

from pathlib import Path

import pytest

from maeum.errors import ConfigError
from maeum.registry import Registry


def install(folder: Path, name: str, group: str, target: str, code: str) -> None:
    """A package as pip leaves it: a module, and metadata that names its entry point."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\nsquare = {target}\n")


def test_another_package_adds_to_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "third_party_a", "maeum.shapes_a", "third_party_a:SQUARE", "SQUARE = 'four corners'\n")
    monkeypatch.syspath_prepend(tmp_path)
    shapes: Registry[str] = Registry("shape", "maeum.shapes_a")
    shapes.register("circle")("none")
    assert list(shapes) == ["circle", "square"]
    assert shapes["square"] == "four corners"


def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "third_party_b", "maeum.shapes_b", "third_party_b:SQUARE", "import no_such_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    shapes: Registry[str] = Registry("shape", "maeum.shapes_b")
    with pytest.raises(ConfigError, match="square: the shape of the package third_party_b cannot be loaded"):
        list(shapes)


def test_unknown_and_repeated_names_are_errors() -> None:
    shapes: Registry[str] = Registry("shape", "maeum.shapes_c")
    shapes.register("circle")("none")
    with pytest.raises(ConfigError, match=r"unknown shape 'circel'\. Did you mean 'circle'"):
        shapes["circel"]
    with pytest.raises(ConfigError, match="registered twice"):
        shapes.register("circle")("other")
