"""What `maeum settings` prints, and the page of all settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from maeum.cli.topics import topics
from maeum.config import Config
from maeum.reports.settings import Topic, settings_of, settings_page, settings_text, topics_text

ROOT = Path(__file__).resolve().parents[3]


class Disc(Config):
    kind: Literal["disc"] = "disc"
    size_mm: int = Field(default=160, gt=0, le=203)
    """Of the rotor."""


class Rim(Config):
    kind: Literal["rim"] = "rim"
    pads: tuple[str, ...] = ("rubber",)
    """What touches the rim."""


class Wheel(Config):
    radius_cm: float = 30.0
    """From the hub
    to the rim."""


class Bicycle(Config):
    """A vehicle."""

    name: str
    """Painted on the frame."""
    brake: Annotated[Disc | Rim, Field(discriminator="kind")] = Rim()
    """What stops it."""
    wheels: tuple[Wheel, ...] = (Wheel(), Wheel())
    front: Wheel = Wheel(radius_cm=35)
    spare: Wheel | None = None
    paint: Literal["red", "blue", "none"] = "red"
    tools: dict[str, Path] = Field(default_factory=dict)


BICYCLE = Topic("bicycle", "settings of a bicycle", Bicycle)


def test_every_setting_has_its_path_type_default_and_meaning() -> None:
    rows = {s.path: s for s in settings_of(BICYCLE, {"bicycle": BICYCLE})}
    assert {path: rows[path].facts() for path in rows} == {
        "name": "text; required",
        "brake": "settings with kind disc or rim",
        "brake.size_mm": "integer, above 0, at most 203; default 160; with brake.kind = disc",
        "brake.pads": 'list of text; default ["rubber"]; with brake.kind = rim',
        "wheels": 'list of settings; default [{"radius_cm": 30.0}, {"radius_cm": 30.0}]',
        "wheels.N.radius_cm": "number; default 30.0",
        "front": "settings",
        "front.radius_cm": "number; default 35.0",
        "spare": "settings or null; default null",
        "spare.radius_cm": "number; default 30.0",
        "paint": 'red, blue or none; default "red"',
        "tools": "mapping of names to path; default {}",
    }
    assert rows["front.radius_cm"].meaning == "From the hub to the rim."
    assert "brake.pads\n  list of text" in settings_text(BICYCLE, {})


def test_settings_that_are_a_topic_of_their_own_are_referred_to() -> None:
    wheel = Topic("wheel", "settings of a wheel", Wheel)
    rows = {s.path: s for s in settings_of(BICYCLE, {"bicycle": BICYCLE, "wheel": wheel})}
    assert "front.radius_cm" not in rows
    assert rows["front"].meaning == "See `maeum settings wheel`."


def test_commands_networks_and_corpora_are_topics() -> None:
    known = topics()
    assert {"train", "prepare", "augment", "compare", "reproduce", "fe2e", "mesm", "mmer", "iemocap"} <= set(known)
    assert all(name in topics_text(known) for name in known)
    paths = {s.path for s in settings_of(known["train"], known)}
    assert {"training.lr", "train.N.store", "inputs.max_frames", "split.by"} <= paths


def test_the_page_in_the_docs_is_current() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_page(topics())
    check = subprocess.run([sys.executable, ROOT / "scripts" / "settings_page", "--check"], capture_output=True)
    assert check.returncode == 0, check.stderr


def test_lines_of_the_page_are_at_most_100_characters_unless_one_word_is_longer() -> None:
    assert [line for line in settings_page(topics()).splitlines() if len(line) > 100 and " " in line.strip("- ")] == []
