from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

import pytest
from pydantic import Field, model_validator

from maeum import config
from maeum.config import Config, Removed
from maeum.errors import ConfigError, RenamedSettingWarning
from maeum.inputs.settings import InputSettings
from maeum.models.fe2e import FE2EConfig
from maeum.runs.recipe import Recipe


class Wheel(Config):
    radius_cm: float = 30.0
    """From the hub to the rim."""


class Disc(Config):
    kind: Literal["disc"] = "disc"


class Rim(Config):
    kind: Literal["rim"] = "rim"
    learning_curve: int = 0


class Bicycle(Config):
    front: Wheel = Wheel()
    speed: float = 1e-4
    brake: Annotated[Disc | Rim, Field(discriminator="kind")] = Rim()
    gears: int = 1
    chains: int = 1
    spare: tuple[Wheel, ...] = ()

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
        ("sped: 1", r"a\.yaml: unknown setting 'sped' \(did you mean speed\?\)"),
        ("front: {radius_mm: 1}", r"unknown setting 'front.radius_mm' \(did you mean front\.radius_cm\?\)"),
        ("spare: [{radius: 1}]", r"unknown setting 'spare\.0\.radius' \(did you mean spare\.0\.radius_cm\?\)"),
        (
            "brake: {kind: rim, lerning_curve: 1}",
            r"setting 'brake\.lerning_curve' \(did you mean brake\.learning_curve\?",
        ),
        ("learning_curv: 1", r"unknown setting 'learning_curv' \(did you mean brake\.learning_curve\?\)"),
        (
            "speed: 1\ngears: 2\nspeed: 2\n",
            r"a\.yaml: cannot be read: the key 'speed' is given twice, in lines 1 and 3$",
        ),
        ("front:\n  radius_cm: 1\n  radius_cm: 1\n", r"'radius_cm' is given twice, in lines 2 and 3$"),
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


def test_a_key_given_twice_in_json_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{\n\t"gears": 1,\n\t"front": {"radius_cm": 1,\n\t"radius_cm": 2}\n}')
    with pytest.raises(ConfigError, match=r"a\.json: .*'radius_cm' is given twice, in lines 3 and 4$"):
        Bicycle.load(tmp_path / "a.json")


def test_a_docstring_under_a_setting_describes_it() -> None:
    assert Wheel.model_json_schema()["properties"]["radius_cm"]["description"] == "From the hub to the rim."


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("learning_rate", "training.lr"),
        ("epoch", "training.epochs"),
        ("training.epoch", "training.epochs"),
        ("training.learning_rate", "training.lr"),
        ("training.batchsize", "training.batch_size"),
        ("batchSize", "training.batch_size"),
        ("scheduler", "training.schedule"),
        ("max_frame", "inputs.max_frames"),
        ("val", "dev"),
        ("training.augment", "augment"),
        ("learnin_rate", "training.lr"),
        ("hidden", r"network\.faces\.hidden or network\.speech\.hidden"),
    ],
)
def test_a_setting_under_the_name_that_others_use_is_recognised(setting: str, meant: str) -> None:
    data: dict[str, object] = {"name": "a", "train": [], "dev": []}
    section, _, name = setting.rpartition(".")
    data.update({section: {name: 1}} if section else {name: 1})
    with pytest.raises(ConfigError, match=rf"unknown setting '{setting}' \(did you mean {meant}\?\)"):
        Recipe.parse(data)


@pytest.mark.parametrize(
    ("setting", "section"),
    [("lr", "training"), ("patience", "training"), ("training.max_frames", "inputs"), ("mixup", "augment")],
)
def test_a_setting_in_the_wrong_place_is_shown_the_right_one(setting: str, section: str) -> None:
    owner, _, name = setting.rpartition(".")
    data: dict[str, object] = {"name": "a", "train": [], "dev": [], **({owner: {name: 1}} if owner else {name: 1})}
    problem = rf"unknown setting '{setting}' \(it belongs under '{section}:', as {section}\.{name}\)"
    with pytest.raises(ConfigError, match=problem):
        Recipe.parse(data)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ({"train": "stores/own"}, r"^train = 'stores/own': a list is expected, such as \[\{store: \.\.\.\}\]$"),
        ({"train": ["stores/own"]}, r"^train\.0 = 'stores/own': a mapping is expected, such as \{store: \.\.\.\}$"),
        ({"training": 5}, r"^training = 5: a mapping is expected, such as \{epochs: 40\}$"),
        ({"network": [1]}, r"^network = \[1\]: a mapping is expected, such as \{NAME: \.\.\.\}$"),
        ({"dev": [{"store": "s", "modalities": "text"}]}, r"a list is expected, such as \[faces\]$"),
        ({"dev": [{"store": "s", "modalities": []}]}, r"^dev\.0\.modalities needs at least 1 entry$"),
        ({"dev": [{"store": "s", "modalities": ["x"]}]}, r"^dev\.0\.modalities\.0 = 'x': .*'text'$"),
    ],
)
def test_a_value_of_another_form_is_told_the_right_one(setting: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Recipe.parse({"name": "a", "train": [{"store": "s"}], "dev": [{"store": "s"}], **setting})


@pytest.mark.parametrize(
    ("text", "changes", "item"),
    [
        ("speed: 1", ["speed=fast"], "--set speed=fast: speed = 'fast'"),
        ("speed: 1", ["gears=2", "front.radius_mm=1"], "--set front.radius_mm=1: unknown setting 'front.radius_mm'"),
        ("speed: 1", ["gears=2", "chains=0"], "--set gears=2 --set chains=0: 2 gears need a chain"),
        ("speed: fast", ["gears=1"], "a.yaml: speed = 'fast'"),
        ("speed: fast", ["gears=many"], "a.yaml: speed = 'fast'"),
        ("gears: few", ["gears=many"], "--set gears=many: gears = 'many'"),
    ],
)
def test_what_is_set_on_the_command_line_is_named_where_it_is_wrong(
    tmp_path: Path, text: str, changes: list[str], item: str
) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        Bicycle.load(tmp_path / "a.yaml", changes)
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(item)


def test_hidden_size_of_a_network_is_its_dim() -> None:
    with pytest.raises(ConfigError, match=r"'text\.hidden_size' \(did you mean text\.(\w+\.)?dim"):
        FE2EConfig.parse({"labels": 3, "text": {"kind": "small", "hidden_size": 8}})


def test_a_setting_of_one_class_is_renamed_there_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(config.RENAMED, "Wheel.size", "radius_cm")
    with pytest.warns(RenamedSettingWarning, match="'size' is now called 'radius_cm'"):
        assert Bicycle.parse({"front": {"size": 9}}).front.radius_cm == 9
    with pytest.raises(ConfigError, match="unknown setting 'size'"):
        Bicycle.parse({"size": 9})


def test_a_removed_setting_is_refused_with_its_reason_unless_it_had_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(config.REMOVED, "Wheel.spokes", Removed("wheels are discs now", no_effect=(0,)))
    with pytest.raises(ConfigError, match="front: the setting 'spokes' is gone: wheels are discs now"):
        Bicycle.parse({"front": {"spokes": 32}})
    with pytest.warns(RenamedSettingWarning, match="'spokes' is gone and not needed: wheels are discs now"):
        assert Bicycle.parse({"front": {"spokes": 0}}).front == Wheel()
