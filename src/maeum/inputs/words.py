"""The words of an utterance: whether there is anything to read in a text."""

from __future__ import annotations

import unicodedata


def missing_words_reason(text: str) -> str | None:
    """Why a text has no words: it is empty, or has neither letters, digits nor emoji; None where it has."""
    if any(sign.isalnum() or unicodedata.category(sign) == "So" for sign in text):
        return None
    return "no words: the text has only signs" if text.strip() else "no words: the text is empty"
