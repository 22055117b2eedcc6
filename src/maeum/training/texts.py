"""Training texts as people speak and as recognisers write: without punctuation, now and then."""

from __future__ import annotations

import re
from collections.abc import Callable
from zlib import crc32

_SIGNS = re.compile(r"[^\w\s\[\]']")
_SIGNS_AND_APOSTROPHES = re.compile(r"[^\w\s\[\]]")


def roughen(text: str, share: float, seed: int = 0) -> str:
    """The text, in a ``share`` of all cases without punctuation and emoji, in half of these without apostrophes too.

    Which cases depends on the text and the seed alone (use the epoch), so that a resumed training repeats itself. A
    text of signs alone stays as it is. Letters keep their case: the small tokenizer has none.

    Args:
        text: a training text.
        share: 0 never, 1 always.
        seed: another seed draws other cases.
    """
    draw = crc32(f"{seed} {text}".encode()) / 2**32
    if draw >= share:
        return text
    spoken = (_SIGNS if draw < share / 2 else _SIGNS_AND_APOSTROPHES).sub(" ", text).strip()
    return spoken or text


def roughening(
    tokenize: Callable[[list[str]], list[list[int]]], share: float, seed: int
) -> Callable[[list[str]], list[list[int]]]:
    """``tokenize`` of roughened texts; what a training collator takes in place of the tokenizer."""
    return lambda texts: tokenize([roughen(text, share, seed) for text in texts])
