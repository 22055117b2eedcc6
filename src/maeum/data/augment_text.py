"""Random variations of training texts: words as recognisers and captions write them."""

from __future__ import annotations

import re

import torch

from maeum.config import Config

_SIGNS = re.compile(r"[^\w\s\[\]']")
_SIGNS_AND_APOSTROPHES = re.compile(r"[^\w\s\[\]]")


class TextAugment(Config):
    """How texts vary.

    plain: probability that a text loses its punctuation and emoji; in half of these cases its apostrophes too.
    lower: probability that it is in lower case (of no effect with the small tokenizer, which has no other).
    """

    plain: float = 0.25
    lower: float = 0.0


def augment_text(text: str, config: TextAugment, generator: torch.Generator) -> str:
    """Vary a text. One that consists of signs alone keeps them."""
    plain, lower = torch.rand(2, generator=generator).tolist()
    if plain < config.plain:
        signs = _SIGNS if plain < config.plain / 2 else _SIGNS_AND_APOSTROPHES
        text = " ".join(signs.sub(" ", text).split()) or text
    return text.lower() if lower < config.lower else text
