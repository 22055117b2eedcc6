"""Colours of emotions: the eight of Okabe and Ito (2008), told apart with every common colour vision."""

from __future__ import annotations

from collections.abc import Sequence

from maeum.labels import canonical

_OF_EMOTION = {
    "anger": "#D55E00",
    "disgust": "#009E73",
    "fear": "#AA6FC0",
    "happiness": "#E69F00",
    "sadness": "#0072B2",
    "surprise": "#56B4E9",
    "neutral": "#8A9099",
}
#: For labels that are not among the seven.
_SPARE = ("#CC79A7", "#F0E442", "#117733", "#882255", "#44AA99", "#DDCC77", "#332288", "#999933")
#: Lines of scales.
_LINES = ("#0072B2", "#D55E00", "#009E73", "#AA6FC0", "#8A9099")
#: Where a prediction abstains.
NO_ANSWER = "#C9CDD3"


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour ``#rrggbb`` for each label; the seven emotions always have the same one."""
    spare = [c for label, c in _OF_EMOTION.items() if label not in {canonical(name) for name in labels}]
    others = iter([*_SPARE, *spare] * (1 + len(labels) // len(_SPARE)))
    return {label: _OF_EMOTION.get(canonical(label)) or next(others) for label in labels}


def line_colours(scales: Sequence[str]) -> dict[str, str]:
    """A colour for the line of each scale, dark enough on white and light enough on black."""
    return {scale: _LINES[i % len(_LINES)] for i, scale in enumerate(scales)}


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on a colour (WCAG contrast)."""
    light = _luminance(colour)
    return "#000000" if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else "#ffffff"


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
