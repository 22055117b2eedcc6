"""Colours of labels."""

from __future__ import annotations

from maeum.analysis.palette import colours, ink_on
from maeum.labels import EMOTIONS


def test_colours_are_stable_distinct_and_readable():
    tones = colours(EMOTIONS)
    assert len(set(tones.values())) == 7
    assert colours(("joy", "angry"))["angry"] == tones["anger"]
    others = colours((*EMOTIONS, "excited", "frustrated", "bored"))
    assert len(set(others.values())) == 10
    assert (ink_on("#ffffff"), ink_on("#000000")) == ("#000000", "#ffffff")
