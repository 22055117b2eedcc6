"""A timeline made by hand, with everything that outsiders could put into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maeum.labels import EMOTIONS
from maeum.models.card import ModelCard
from maeum.models.pretrained import load_pretrained
from maeum.types import FaceTrack, ModalityOpinion, Prediction, Segment, Timeline

EVIL = '<script>alert("x")</script> & "quotes" \N{SNOWMAN} ' + "{{ 7 * 7 }}"
PNG = b"\x89PNG\r\n\x1a\n-not-really-"


def probs(top: str, value: float) -> dict[str, float]:
    rest = (1 - value) / (len(EMOTIONS) - 1)
    return {name: value if name == top else rest for name in EMOTIONS}


@pytest.fixture
def timeline() -> Timeline:
    heard = Prediction(
        probs("happiness", 0.82), "happiness", 0.82,
        {"faces": ModalityOpinion(probs("happiness", 0.7), 0.6), "speech": ModalityOpinion(probs("fear", 0.4), 0.4)},
        notes=("no words: the text is empty",), id="1",
    )  # fmt: skip
    alone = Prediction(
        probs("sadness", 0.5), "sadness", 0.5, {"faces": ModalityOpinion(probs("sadness", 0.5), 1.0)}, id="2"
    )
    nothing = Prediction(dict.fromkeys(EMOTIONS, 1 / 7), None, 0.0, reason="no speech: the sound is silent", id="3")
    return Timeline(
        source="/films/holiday clip.mp4",
        duration_s=12.5,
        segments=(
            Segment(0.5, 4.25, heard, EVIL, 1, "Ann <b>"),
            Segment(0.5, 4.25, alone, None, 2),
            Segment(5.0, 12.5, nothing),
        ),
        tracks=(FaceTrack(1, ((0.5, 1.0, 2.0, 30.5, 40.25),), PNG), FaceTrack(2, ((0.5, 100.0, 2.0, 130.0, 40.0),))),
        labels=EMOTIONS,
        model="small",
        notes=("truncated: can be read to 12.5 s <i>",),
    )


@pytest.fixture
def scales() -> Timeline:
    """A timeline of values on scales: two faces, one of them with a gap; an abstention; one value without interval."""
    first = Prediction(
        {}, None, 0.0,
        {"faces": ModalityOpinion({}, 0.6, {"valence": 3.5, "arousal": -0.2}),
         "speech": ModalityOpinion({}, 0.4, {"valence": 4.5, "arousal": 0.8})},
        notes=("no words: the text is empty",), id="1", values={"valence": 4.0, "arousal": 0.25},
        intervals={"valence": (3.0, 5.0), "arousal": (-0.25, 0.75)},
    )  # fmt: skip
    alone = {"faces": ModalityOpinion({}, 1.0, {"valence": 1.0, "arousal": -1.0})}
    second = Prediction({}, None, 0.0, alone, id="2", values={"valence": 1.0, "arousal": -1.0},
                        intervals={"valence": (1.0, 2.0)})  # fmt: skip
    nothing = Prediction({}, None, 0.0, reason="no speech: the sound is silent", id="3")
    return Timeline(
        source="/films/holiday clip.mp4",
        duration_s=10.0,
        segments=(
            Segment(0.0, 2.0, first, EVIL, 1, "Ann <b>"),
            Segment(2.0, 4.0, second, None, 1),
            Segment(0.0, 2.0, second, None, 2),
            Segment(8.0, 10.0, first, None, 1),
            Segment(5.0, 7.5, nothing),
        ),
        tracks=(FaceTrack(1, ((0.5, 1.0, 2.0, 30.5, 40.25),), PNG), FaceTrack(2, ((0.5, 100.0, 2.0, 130.0, 40.0),))),
        labels=("valence", "arousal"),
        model="small",
        scales={"valence": (1.0, 5.0), "arousal": (-1.0, 1.0)},
    )


@pytest.fixture
def certain(timeline: Timeline) -> Timeline:
    """One segment whose prediction is all but certain."""
    sure = replace(timeline.segments[1].prediction, probs=probs("sadness", 0.9999), confidence=0.9999)
    return replace(timeline, segments=(replace(timeline.segments[1], prediction=sure),))


@pytest.fixture
def card(small_model: Path) -> ModelCard:
    return load_pretrained(small_model).card
