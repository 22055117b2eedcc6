"""Control characters that steer a terminal, a spreadsheet or the order of letters, replaced by what is seen."""

from __future__ import annotations

import re

#: Controls (line feed and tab are layout), embeddings, overrides and isolates of the direction of writing, line and
#: paragraph separators, and the surrogates by which Python keeps bytes of a file name that are not UTF-8. Marks of
#: direction (U+061C, U+200E, U+200F) turn no letter around, and Arabic and Hebrew texts have them.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]")


def visible(text: str) -> str:
    r"""A text from outside as it may be shown: what would act without being seen is a symbol or an escape.

    >>> visible("\x1b[31mred"), visible("cdo\u202eexe.pdf"), visible("one\ntwo")
    ('␛[31mred', 'cdo\\u202eexe.pdf', 'one\ntwo')
    """
    return _STEERING.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def markdown_cell(text: str) -> str:
    r"""A text as a cell of a table in Markdown: visible, in one line, and without the sign that ends a cell.

    >>> markdown_cell("a|b\n c")
    'a\\|b c'
    """
    return visible(" ".join(text.split())).replace("|", r"\|")


#: Spreadsheets take a cell that begins with one of these for a formula, and run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\n")


def csv_cell(text: str) -> str:
    r"""A text as a cell of a CSV: visible, and with a ``'`` before what a spreadsheet would run as a formula.

    >>> csv_cell("=1+1"), csv_cell("a\rb")
    ("'=1+1", 'a\nb')
    """
    text = visible("\n".join(text.splitlines()))  # a lone carriage return would end the row
    return f"'{text}" if text.startswith(_FORMULA) else text
