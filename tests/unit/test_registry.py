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


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
        ("CIRCLE = 1\n", "AttributeError: .*SQUARE"),
    ],
)
def test_a_package_that_cannot_be_loaded_stops_only_who_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, problem: str
) -> None:
    module = f"third_party_{abs(hash(code))}"
    install(tmp_path, module, f"maeum.{module}", f"{module}:SQUARE", code)
    monkeypatch.syspath_prepend(tmp_path)
    shapes: Registry[str] = Registry("shape", f"maeum.{module}")
    shapes.register("circle")("none")
    assert list(shapes) == ["circle"]
    assert shapes["circle"] == "none"
    assert len(shapes) == 1
    assert "square" not in shapes
    (plugin,) = shapes.plugins()
    assert (plugin.name, plugin.package) == ("square", f"{module} 1.0")
    message = rf"unknown shape 'square'; the plug-in {module} 1\.0 that provides it could not be loaded: {problem}"
    with pytest.raises(ConfigError, match=message):
        shapes["square"]


def test_a_package_cannot_take_a_name_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "third_party_d", "maeum.shapes_d", "third_party_d:SQUARE", "SQUARE = 'theirs'\n")
    monkeypatch.syspath_prepend(tmp_path)
    shapes: Registry[str] = Registry("shape", "maeum.shapes_d")
    shapes.register("square")("ours")
    assert shapes["square"] == "ours"
    assert [plugin.problem for plugin in shapes.plugins()] == ["there is a shape of this name already"]


def test_unknown_and_repeated_names_are_errors() -> None:
    shapes: Registry[str] = Registry("shape", "maeum.shapes_c")
    shapes.register("circle")("none")
    with pytest.raises(ConfigError, match=r"unknown shape 'circel'\. Did you mean 'circle'"):
        shapes["circel"]
    with pytest.raises(ConfigError, match="registered twice"):
        shapes.register("circle")("other")
