"""The settings of preparation, recipes and model folders are one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import maeum
from maeum.errors import ConfigError, RenamedSettingWarning
from maeum.inputs.settings import ClipSettings, InputSettings
from maeum.preparation.prepare import PrepareConfig


def test_a_store_and_a_model_are_made_with_the_same_settings():
    assert issubclass(InputSettings, ClipSettings)
    assert PrepareConfig.model_fields["inputs"].annotation is ClipSettings
    assert PrepareConfig().inputs.model_dump().items() <= InputSettings().model_dump().items()


def test_settings_of_preparation_that_had_other_names():
    old = {"decode": {"every_s": 0.25, "trim_silence": True, "no_face": "centre-crop", "precision": "float32",
                      "wave": True}, "limit": 3}  # fmt: skip
    with pytest.warns(RenamedSettingWarning):
        settings = PrepareConfig.parse(old)
    new = {"inputs": {"frame_every_s": 0.25, "trim_silence": True}, "no_face": "centre-crop", "precision": "float32",
           "wave": True, "limit": 3}  # fmt: skip
    assert settings == PrepareConfig.parse(new)


def test_a_model_folder_with_a_margin_still_loads(small_model: Path, tmp_path: Path):
    folder = tmp_path / "old"
    shutil.copytree(small_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["inputs"]["margin_px"] = 2
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.warns(RenamedSettingWarning, match="margin_px"):
        recognizer = maeum.load(folder)
    assert recognizer.predict(text="lovely").label is not None


def test_another_margin_is_refused():
    with pytest.raises(ConfigError, match=r"margin_px.* is gone: faces are cropped with a margin of 2"):
        InputSettings.parse({"margin_px": 6})


@pytest.mark.parametrize("wrong", [{"frame_every_s": 0}, {"max_frames": 0}, {"max_mel_chunks": -1}, {"max_tokens": 0},
                                   {"sound": "both"}])  # fmt: skip
def test_nonsense_is_refused_by_name(wrong: dict[str, object]):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        InputSettings.parse(wrong)
