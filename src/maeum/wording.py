"""How messages word numbers and lists."""

from __future__ import annotations

from collections.abc import Iterable

_ENDINGS_WITH_ES = ("s", "x", "z", "ch", "sh")
#: Spoken with a k at the end.
_PLAIN = ("epoch",)


def counted(number: int, noun: str, *, separate: bool = False) -> str:
    """A number and its noun: ``1 file``, ``2 files``, ``3 batches``, ``4 entries``.

    Args:
        number: how many.
        noun: in the singular.
        separate: write thousands apart, as in ``1,204 items``.
    """
    return f"{number:,} {plural(noun, number)}" if separate else f"{number} {plural(noun, number)}"


def plural(noun: str, number: int = 2) -> str:
    """A noun as it follows a number."""
    if number == 1:
        return noun
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_ENDINGS_WITH_ES) and not noun.endswith(_PLAIN) else f"{noun}s"


def was(number: int) -> str:
    """The verb after so many: ``1 file was``, ``2 files were``."""
    return "was" if number == 1 else "were"


def first_line(text: str, otherwise: str) -> str:
    """The first line of a message of others, without its full stop; ``otherwise`` where it is empty."""
    lines = text.strip().splitlines()
    return lines[0].rstrip(".") if lines else otherwise


def alternatives(names: Iterable[str]) -> str:
    """``a, b or c``."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
