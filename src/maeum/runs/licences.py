"""What a model may be used for: the licences of everything that its weights were made from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from maeum.data.store import Store
from maeum.models.card import ModelCard
from maeum.models.weights import WEIGHTS

_FREE = re.compile(r"\b(Apache|MIT|BSD|CC0|CC BY 4\.0|public domain)\b")
_BOUND = re.compile(r"\bNC\b|non-?commercial|research", re.IGNORECASE)


@dataclass(frozen=True)
class Licences:
    """What a model's weights allow. data: title and licence of each source."""

    licence: str
    non_commercial: bool
    data: tuple[str, ...]


def licences_of(stores: Iterable[Path], sources: Iterable[ModelCard] = (), encoders: Iterable[str] = ()) -> Licences:
    """The licences of weights that were trained on prepared corpora.

    Args:
        stores: the corpora.
        sources: cards of the models that the training started from; their data and limits go on to apply.
        encoders: names of pretrained encoders that the training started from; the licences of those that `maeum fetch`
            knows are stated, others are not known here.
    """
    manifests = [Store(store).manifest for store in stores]
    licences = [(str(m.get("title", m["name"])), str(m["licence"])) for m in manifests]
    licences += [
        (f"{name} (pretrained encoder)", WEIGHTS[name].licence if name in WEIGHTS else "as its authors state")
        for name in dict.fromkeys(encoders)
    ]
    data = [f"{title}: {licence}" for title, licence in licences]
    names = {licence for _, licence in licences}
    bound = not all(is_commercial(licence) for licence in names)
    for card in sources:
        data += card.data
        names.add(card.licence)
        bound = bound or card.non_commercial
    return Licences("; ".join(sorted(names)), bound, tuple(dict.fromkeys(data)))


def is_commercial(licence: str) -> bool:
    """Whether every part of a licence text (``a; b``) is known to allow commercial use; anything else counts as not."""
    return all(_FREE.search(part) and not _BOUND.search(part) for part in licence.split(";"))
