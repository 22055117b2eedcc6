from __future__ import annotations

from pathlib import Path

import pytest

from maeum.config import Config
from maeum.errors import ConfigError


class Wheel(Config):
    radius_cm: float = 30.0


class Bicycle(Config):
    front: Wheel = Wheel()
    speed: float = 1e-4


@pytest.mark.parametrize("name", ["a.yaml", "a.json"])
def test_what_is_saved_is_loaded(tmp_path: Path, name: str) -> None:
    Bicycle(front=Wheel(radius_cm=20)).save(tmp_path / name)
    assert Bicycle.load(tmp_path / name) == Bicycle(front=Wheel(radius_cm=20))


def test_numbers_with_exponents_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("speed: 3e-4\n")
    assert Bicycle.load(tmp_path / "a.yaml").speed == 3e-4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sped: 1", r"a\.yaml: unknown setting 'sped' \(did you mean 'speed'\?\)"),
        ("front: {radius_mm: 1}", r"unknown setting 'front.radius_mm' \(did you mean 'radius_cm'\?\)"),
        ("speed: fast", r"a\.yaml: speed = 'fast'"),
        ("- 1", "holds no settings"),
        ("{", r"a\.yaml: cannot be read"),
    ],
)
def test_wrong_settings_name_the_file_and_the_key(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        Bicycle.load(tmp_path / "a.yaml")
