"""Transcripts as characters for connectionist temporal classification (CTC), and back."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from maeum.errors import ConfigError

#: An annotation of something that is no word: ``[LAUGHTER]``, ``{LG}``, ``<breathing>``, ``++GARBAGE++``.
_ANNOTATION = re.compile(r"\[([^\[\]]*)\]|\{([^{}]*)\}|<([^<>]*)>|\+\+(\w+)\+\+")
#: Short forms of IEMOCAP's annotations.
_SAME = {"LG": "LAUGHTER", "BR": "BREATHING", "LS": "LIPSMACK", "GB": "GARBAGE"}
#: A character, or an annotation, that occurs less often in a corpus is not learned.
SELDOM = 5


class CharacterVocabulary:
    """The symbols of a CTC head.

    Args:
        symbols: number 0 is the blank; ``" "`` parts words; an annotation such as ``[LAUGHTER]`` is one symbol; an
            empty one is never recognised (the special symbols of a hub's processor).

    Raises:
        ConfigError: when there is no symbol, or one is given twice.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        named = [s for s in symbols[1:] if s]
        if not named or symbols[0] or len(set(named)) < len(named):
            raise ConfigError(
                f"characters need a blank (an empty string) first and then distinct symbols, not {list(symbols)[:5]}"
            )
        self.symbols = tuple(symbols)
        self._number = {s: i for i, s in enumerate(symbols) if s}

    @classmethod
    def of(cls, texts: Iterable[str]) -> CharacterVocabulary:
        """The characters of a corpus that occur at least `SELDOM` times, in the order of the alphabet.

        Raises:
            ConfigError: when none does.
        """
        counts = Counter(unit for text in texts for unit in units(text))
        often = sorted(unit for unit, count in counts.items() if count >= SELDOM and unit != " ")
        if not often:
            raise ConfigError(f"the transcripts hold no character {SELDOM} times, so a CTC head has no symbols",
                              remedy="Leave training.losses.ctc out.")  # fmt: skip
        return cls(("", " ", *often))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """The ids of a text's symbols; what is none of the symbols is left out."""
        known: list[str] = []
        for unit in units(text):
            if unit in self._number and (unit != " " or (known and known[-1] != " ")):
                known.append(unit)
        return [self._number[unit] for unit in (known[:-1] if known[-1:] == [" "] else known)]

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of the most probable symbols step by step: repeats are one, then blanks are left out."""
        found: list[str] = []
        before = -1
        for number in numbers:
            if number != before and number != 0:
                found.append(self.symbols[number])
            before = number
        return " ".join("".join(found).split())


def without_annotations(text: str) -> str:
    """A transcript's words and punctuation, without what is no word."""
    return " ".join(_ANNOTATION.sub(" ", text).split())


def units(text: str) -> list[str]:
    """A transcript as capital letters, digits, apostrophes, annotations and single spaces; other signs part words."""
    found: list[str] = []
    place = 0
    text = unicodedata.normalize("NFC", text)
    for match in _ANNOTATION.finditer(text):
        found += _letters(text[place : match.start()])
        name = re.sub(r"\W+", "", next(g for g in match.groups() if g is not None)).upper()
        found += [" ", f"[{_SAME.get(name, name)}]", " "] if name else [" "]
        place = match.end()
    found += _letters(text[place:])
    return [u for before, u in zip([" ", *found], found, strict=False) if u != " " or before != " "]


def _letters(text: str) -> list[str]:
    capital = text.replace("\u2019", "'").upper()
    return [c if c.isalnum() or c == "'" or unicodedata.category(c)[0] == "M" else " " for c in capital]
