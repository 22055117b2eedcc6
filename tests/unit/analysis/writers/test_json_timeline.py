"""JSON holds everything, and is read back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from maeum.analysis.writers import write_timeline
from maeum.analysis.writers.json_timeline import SCHEMA, from_dict, to_dict
from maeum.errors import ConfigError
from maeum.models.card import ModelCard
from maeum.types import Timeline


def test_json_holds_everything(timeline: Timeline, card: ModelCard, tmp_path: Path):
    (path,) = write_timeline(timeline, tmp_path, ["json"], card=card)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert (data["schema"], data["model_card"]["non_commercial"]) == (SCHEMA, True)
    assert from_dict(data) == timeline


def test_json_keeps_values_and_all_labels_that_apply(timeline: Timeline, scales: Timeline):
    several = replace(timeline.segments[0].prediction, above=("happiness", "fear"))
    none = replace(several, above=())
    segments = tuple(replace(timeline.segments[0], prediction=answer) for answer in (several, none))
    for kept in (scales, replace(timeline, segments=segments)):
        assert from_dict(json.loads(json.dumps(to_dict(kept)))) == kept


def test_json_of_before_there_were_scales_can_be_read(timeline: Timeline):
    data = to_dict(timeline)
    del data["scales"]
    for segment in data["segments"]:
        for name in ("above", "values", "intervals"):
            del segment["prediction"][name]
        for opinion in segment["prediction"]["modalities"].values():
            del opinion["values"]
    assert from_dict(data) == timeline


def test_json_of_another_layout_is_an_error(timeline: Timeline):
    with pytest.raises(ConfigError, match="timeline/9"):
        from_dict(to_dict(timeline) | {"schema": "maeum.timeline/9"})
