"""Where each corpus keeps its files and what its labels mean; importing it registers the corpora of this folder."""

from __future__ import annotations

from maeum.corpora.base import CORPORA, Corpus, LeftOut, make_corpus
from maeum.registry import import_siblings

__all__ = ["CORPORA", "Corpus", "LeftOut", "make_corpus"]

import_siblings(__name__, __path__)
