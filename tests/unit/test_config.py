from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, model_validator

from maeum.config import Config, RenamedSettingWarning
from maeum.errors import ConfigError
from maeum.models.pretrained import InputSettings


class Wheel(Config):
    radius_cm: float = 30.0


class Disc(Config):
    kind: Literal["disc"] = "disc"


class Rim(Config):
    kind: Literal["rim"] = "rim"


class Bicycle(Config):
    front: Wheel = Wheel()
    speed: float = 1e-4
    brake: Annotated[Disc | Rim, Field(discriminator="kind")] = Rim()
    gears: int = 1
    chains: int = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.gears > 1 and not self.chains:
            raise ValueError(f"{self.gears} gears need a chain")
        return self


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
        ("{", r"a\.yaml: cannot be read: .*, line 1, column 2$"),
        ("brake: {kind: dsc}", r"a\.yaml: brake.kind = 'dsc': there is disc, rim \(did you mean 'disc'\?\)"),
        ("{gears: 3, chains: 0}", r"a\.yaml: 3 gears need a chain"),
    ],
)
def test_wrong_settings_name_the_file_and_the_key(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=problem):
        Bicycle.load(tmp_path / "a.yaml")


def test_a_setting_is_understood_under_the_name_it_had() -> None:
    with pytest.warns(RenamedSettingWarning, match="'max_pieces' is now called 'max_mel_chunks'"):
        settings = InputSettings.parse({"max_pieces": 7})
    assert settings.max_mel_chunks == 7
    with pytest.warns(RenamedSettingWarning, match="sound: 'pieces' is now called 'mel_chunks'"):
        assert InputSettings.parse({"sound": "pieces"}).sound == "mel_chunks"
