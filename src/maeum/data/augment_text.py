"""Random variations of training texts: words as recognisers and captions write them."""

from __future__ import annotations

import re

import torch
from pydantic import Field

from maeum.config import Config

_SIGNS = re.compile(r"[^\w\s\[\]']")
_SIGNS_AND_APOSTROPHES = re.compile(r"[^\w\s\[\]]")


class TextAugment(Config):
    """How texts vary in training."""

    plain: float = Field(default=0.25, ge=0, le=1)
    """Probability that a text loses its punctuation and emoji, and in half of these cases its apostrophes."""
    lower: float = Field(default=0.0, ge=0, le=1)
    """Probability of lower case. No effect with the small tokenizer, which knows no other."""
    leave_out: float = Field(default=0.0, ge=0, lt=1)
    """Probability of each word of a longer text to be left out; one word always stays."""


def augment_text(text: str, config: TextAugment, generator: torch.Generator) -> str:
    """Vary a text. One that consists of signs alone keeps them."""
    plain, lower = torch.rand(2, generator=generator).tolist()
    if plain < config.plain:
        signs = _SIGNS if plain < config.plain / 2 else _SIGNS_AND_APOSTROPHES
        text = " ".join(signs.sub(" ", text).split()) or text
    words = text.split()
    if config.leave_out and len(words) > 1:
        luck = torch.rand(len(words), generator=generator)
        mask = luck >= config.leave_out
        mask[luck.argmax()] = True
        text = " ".join(word for word, stays in zip(words, mask.tolist(), strict=True) if stays)
    return text.lower() if lower < config.lower else text
