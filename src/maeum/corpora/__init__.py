"""Where each corpus keeps its files and what its labels mean."""

from __future__ import annotations

from maeum.corpora import crema_d, emodb, fer2013, folder, goemotions, iemocap, meld, mosei, ravdess
from maeum.corpora.base import CORPORA, Corpus, LeftOut, make_corpus

__all__ = [
    "CORPORA",
    "Corpus",
    "LeftOut",
    "crema_d",
    "emodb",
    "fer2013",
    "folder",
    "goemotions",
    "iemocap",
    "make_corpus",
    "meld",
    "mosei",
    "ravdess",
]
