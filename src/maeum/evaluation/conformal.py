"""Sets of labels that hold the true one as often as required, from labelled clips alone (conformal prediction)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import ArrayLike, Floats, as_probabilities
from maeum.wording import counted

#: Rounding of sums of weights.
_TOLERANCE = 1e-12


@dataclass(frozen=True)
class CoverageFit:
    """What keeps a coverage.

    threshold: labels at least this probable are in the set. new_people: whether the coverage holds for clips of people
    who are not among those that it was fitted on, or for more clips of the same people alone. items, people: how many
    it was fitted on; people is None where they are not known.
    """

    threshold: float
    new_people: bool
    items: int
    people: int | None


def fit_coverage(
    probs: ArrayLike, target: ArrayLike, coverage: float, people: Sequence[str | None] | None = None
) -> CoverageFit:
    """The highest threshold whose sets hold the true label of a new item with probability ``coverage`` or more.

    A set has all labels whose probability is at least the threshold. The guarantee needs no assumption about the model,
    and holds for any number of items, as long as new items are drawn like these.

    With enough people, each counts alike and the guarantee is for an item of a *new person* (Lee, Barber, Willett 2023,
    "Distribution-free inference with hierarchical data", section 3): K people stand for K + 1, of whom the new one has
    the least favourable items. ``1 / (1 - coverage) - 1`` people are enough: 9 for 0.9. With fewer, or unknown ones, it
    is split conformal prediction (Vovk et al. 2005; Sadinle et al. 2019), and holds for new items of the same people.

    Args:
        probs: ``(n, classes)``, rows that sum to 1.
        target: true classes, ``(n,)``.
        coverage: 0.5 to 0.999.
        people: each item's speaker, where they are known.

    Raises:
        EvaluationError: when the coverage is out of range, items are too few for it, or rows are no probabilities.

    Example:
        >>> fit_coverage([[0.6, 0.4]] * 8 + [[0.3, 0.7]], [0] * 9, 0.9).threshold
        0.3
    """
    if not 0.5 <= coverage <= 0.999:
        raise EvaluationError(f"{coverage} is not between 0.5 and 0.999", item="coverage", remedy="Give 0.9, say.")
    p, true = as_probabilities(probs, target)
    of_true, missed = p[np.arange(len(p)), true], 1 - coverage
    known = people is not None and len(people) == len(p) and all(name is not None for name in people)
    which = np.unique([str(name) for name in people or ()], return_inverse=True)[1]
    count = len(set(people or ()))
    new_people = known and 1 / (count + 1) <= missed + _TOLERANCE
    unseen = 1 / (count + 1 if new_people else len(p) + 1)
    weights = unseen / np.bincount(which)[which] if new_people else np.full(len(p), unseen)
    threshold = _weighted_threshold(of_true, weights, unseen, missed)
    if threshold is None:
        enough = int(np.ceil(1 / missed - _TOLERANCE)) - 1
        raise EvaluationError(f"{counted(len(p), 'item')} cannot promise {coverage:g}; {enough} are the fewest",
                              item="coverage", remedy="Label more clips (100 or more), or ask for less.")  # fmt: skip
    return CoverageFit(threshold, new_people, len(p), count if known else None)


def _weighted_threshold(of_true: Floats, weights: Floats, unseen: float, missed: float) -> float | None:
    """The highest probability below which no more than ``missed`` of the weight lies; None where none is so low.

    Args:
        of_true: each item's probability of its true label.
        weights: of the items; with ``unseen`` they sum to 1.
        unseen: weight of the item that is not known, whose true label may have any probability.
        missed: how much may be missed.
    """
    if unseen > missed + _TOLERANCE:
        return None
    levels, which = np.unique(of_true, return_inverse=True)
    below = unseen + np.concatenate(([0.0], np.bincount(which, weights).cumsum()[:-1]))
    return float(levels[below <= missed + _TOLERANCE][-1])


def prediction_sets(probs: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Which labels are in the set of each item, ``(n, classes)``: those of at least this probability.

    Where none is, the two likeliest are; so a set of one label is an answer that the coverage stands behind.

    Example:
        >>> prediction_sets([[0.6, 0.3, 0.1], [0.45, 0.35, 0.2]], 0.5).tolist()
        [[True, False, False], [True, True, False]]
    """
    p = np.asarray(probs, dtype=np.float64)
    found: NDArray[np.bool_] = p >= threshold
    empty = np.flatnonzero(~found.any(1))
    found[empty[:, None], np.argsort(-p[empty], 1, kind="stable")[:, :2]] = True
    return found
