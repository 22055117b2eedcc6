"""Every score against scikit-learn, SciPy or exact arithmetic, on whatever can be thought of; never NaN."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from maeum.errors import EvaluationError
from maeum.evaluation import METRICS
from maeum.evaluation.calibration import brier, expected_calibration_error
from maeum.evaluation.dimensional import concordance, mean_absolute_error, pearson
from maeum.evaluation.metrics import accuracy, class_table, f1, f1_per_class, one_vs_rest_accuracy, uar
from maeum.evaluation.multilabel import label_accuracy, label_f1, subset_accuracy, weighted_accuracy
from maeum.evaluation.ranking import average_precision, label_roc_auc, one_vs_rest_roc_auc, roc_auc
from maeum.evaluation.selective import area_under_risk_coverage, risk_coverage
from maeum.evaluation.sentiment import accuracy_2_nonnegative, accuracy_2_nonzero, accuracy_5, accuracy_7

check = settings(max_examples=150, deadline=None, derandomize=True)

#: Small whole numbers for ties and constants, neighbours of 1, and anything up to the largest value that is scored.
numbers = st.one_of(
    st.integers(-3, 3).map(float),
    st.sampled_from([1.0, math.nextafter(1.0, 2), math.nextafter(1.0, 0), 5e-324, -5e-324, 1e-160, 1e100, -1e100]),
    st.floats(-1e100, 1e100),
)


def pairs(values: st.SearchStrategy[float], most: int = 8) -> st.SearchStrategy[list[tuple[float, float]]]:
    return st.lists(st.tuples(values, values), min_size=1, max_size=most)


@st.composite
def classes(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    """How many classes, predictions and targets; any class may be absent from either."""
    n = draw(st.integers(1, 5))
    items = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), min_size=1, max_size=20))
    return n, *np.array(items).T


@st.composite
def probabilities(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Rows that sum to 1, with ties, certainties and confidences at and beside the edges of bins, and targets."""
    n = draw(st.integers(1, 4))
    weights = st.lists(st.integers(0, 4), min_size=n, max_size=n).filter(any)
    rows = [np.array(row) / sum(row) for row in draw(st.lists(weights, min_size=1, max_size=8))]
    if n > 1:
        for i in range(draw(st.integers(0, len(rows)))):
            edge = draw(st.integers(8, 15)) / 15
            confidence = draw(st.sampled_from([edge, math.nextafter(edge, 0), min(1.0, math.nextafter(edge, 2))]))
            rows[i] = np.array([confidence, 1 - confidence] + [0.0] * (n - 2))
    target = draw(st.lists(st.integers(0, n - 1), min_size=len(rows), max_size=len(rows)))
    return np.array(rows), np.array(target)


@st.composite
def labels(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Decisions and targets, 0/1, (n, labels)."""
    n, k = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    bits = st.lists(st.booleans(), min_size=2 * n * k, max_size=2 * n * k)
    both = np.array(draw(bits), float).reshape(2, n, k)
    return both[0], both[1]


def not_nan(scores: np.ndarray) -> list[float | None]:
    return [None if np.isnan(x) else pytest.approx(x, abs=1e-9) for x in scores]


@check
@given(classes())
def test_single_label(drawn: tuple[int, np.ndarray, np.ndarray]):
    n, preds, target = drawn
    all_classes, present = list(range(n)), sorted(set(target.tolist()))
    assert accuracy(preds, target) == pytest.approx(sk.accuracy_score(target, preds), abs=1e-9)
    per_class = sk.f1_score(target, preds, labels=all_classes, average=None, zero_division=np.nan)
    assert f1_per_class(preds, target, n) == not_nan(per_class)
    for average in ("weighted", "micro"):
        expected = sk.f1_score(target, preds, labels=all_classes, average=average, zero_division=0)
        assert f1(preds, target, n, average) == pytest.approx(expected, abs=1e-9)
    expected = [sk.accuracy_score(target == i, preds == i) for i in all_classes]
    assert one_vs_rest_accuracy(preds, target, n) == pytest.approx(expected, abs=1e-9)
    recall = sk.recall_score(target, preds, labels=present, average="macro")
    macro = sk.f1_score(target, preds, labels=present, average="macro")
    for absent in ("exclude", "error"):
        if absent == "error" and len(present) < n:
            for score in (uar, f1):
                with pytest.raises(EvaluationError, match=r"have no items.*Score items of every class"):
                    score(preds, target, n)
            continue
        assert uar(preds, target, n, absent) == pytest.approx(recall, abs=1e-9)
        assert f1(preds, target, n, absent=absent) == pytest.approx(macro, abs=1e-9)
    rows = class_table(preds, target, [str(i) for i in all_classes])
    for key, score in (("precision", sk.precision_score), ("recall", sk.recall_score)):
        expected = score(target, preds, labels=all_classes, average=None, zero_division=np.nan)
        assert [getattr(row, key) for row in rows] == not_nan(expected)


@check
@given(labels())
def test_several_labels(drawn: tuple[np.ndarray, np.ndarray]):
    preds, target = drawn
    columns = list(zip(preds.T, target.T, strict=True))
    expected = [sk.f1_score(t, p, zero_division=np.nan) for p, t in columns]
    assert label_f1(preds, target) == not_nan(np.array(expected))
    assert label_accuracy(preds, target) == pytest.approx([sk.accuracy_score(t, p) for p, t in columns], abs=1e-9)
    for score, (p, t) in zip(weighted_accuracy(preds, target), columns, strict=True):
        if len(set(t.tolist())) == 1:
            assert score is None
        else:
            assert score == pytest.approx(sk.balanced_accuracy_score(t, p), abs=1e-9)
    right = sum(p.tolist() == t.tolist() for p, t in zip(preds, target, strict=True))
    assert subset_accuracy(preds, target) == pytest.approx(right / len(preds), abs=1e-9)
    if preds.shape[1] > 1:
        assert subset_accuracy(preds, target) == pytest.approx(sk.accuracy_score(target, preds), abs=1e-9)


@check
@given(st.lists(st.tuples(st.one_of(numbers, st.floats(-1.7e308, 1.7e308)), st.booleans()), min_size=1, max_size=12))
def test_roc_auc_is_the_share_of_pairs_in_order(items: list[tuple[float, bool]]):
    yes, no = [s for s, on in items if on], [s for s, on in items if not on]
    scores, target = [s for s, _ in items], [int(on) for _, on in items]
    if not yes or not no:
        assert label_roc_auc([[s] for s in scores], [[t] for t in target]) == [None]
        with pytest.raises(EvaluationError, match="all targets are alike"):
            roc_auc(scores, target)
        return
    expected = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in yes for b in no) / (len(yes) * len(no))
    assert roc_auc(scores, target) == pytest.approx(expected, abs=1e-9)
    assert label_roc_auc([[s] for s in scores], [[t] for t in target]) == [pytest.approx(expected, abs=1e-9)]
    if max(map(abs, scores)) < 1e100:
        assert roc_auc(scores, target) == pytest.approx(sk.roc_auc_score(target, scores), abs=1e-9)


@check
@given(st.lists(st.tuples(numbers, st.booleans()), min_size=1, max_size=12))
def test_average_precision_is_the_mean_precision_at_positive_items(items: list[tuple[float, bool]]):
    scores, target = [s for s, _ in items], [int(on) for _, on in items]
    if not any(target):
        with pytest.raises(EvaluationError):
            average_precision(scores, target)
        return
    at = [[on for t, on in items if t >= s] for s, on in items if on]
    expected = sum(sum(above) / len(above) for above in at) / len(at)
    assert average_precision(scores, target) == pytest.approx(expected, abs=1e-9)
    assert average_precision(scores, target) == pytest.approx(sk.average_precision_score(target, scores), abs=1e-9)


@check
@given(probabilities())
def test_roc_auc_of_classes(drawn: tuple[np.ndarray, np.ndarray]):
    probs, target = drawn
    for i, area in enumerate(one_vs_rest_roc_auc(probs, target)):
        if (target == i).all() or not (target == i).any():
            assert area is None
        else:
            assert area == pytest.approx(sk.roc_auc_score(target == i, probs[:, i]), abs=1e-9)


def moments(items: list[tuple[float, float]]) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """Variances, covariance and difference of the means, without rounding."""
    a, b = ([Fraction(x) for x in side] for side in zip(*items, strict=True))
    n = len(items)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    var_a, var_b = sum((x - mean_a) ** 2 for x in a) / n, sum((x - mean_b) ** 2 for x in b) / n
    return var_a, var_b, sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True)) / n, mean_a - mean_b


@check
@given(pairs(numbers))
@example([(0.0, 5e-324), (1.0, 0.0)])
@example([(1.0, 1.0), (1.0 + 2**-52, 2.0), (1.0, 3.0)])
def test_scales_equal_exact_arithmetic(items: list[tuple[float, float]]):
    preds, target = zip(*items, strict=True)
    var_a, var_b, cov, gap = moments(items)
    below = var_a + var_b + gap**2
    if below:
        assert concordance(preds, target) == pytest.approx(float(2 * cov / below), abs=1e-9)
    else:
        with pytest.raises(EvaluationError, match="concordance is undefined"):
            concordance(preds, target)
    if var_a and var_b:
        expected = math.copysign(math.sqrt(cov**2 / (var_a * var_b)), cov)
        assert pearson(preds, target) == pytest.approx(expected, abs=1e-9)
    else:
        with pytest.raises(EvaluationError, match=r"are constant.*use mean_absolute_error"):
            pearson(preds, target)
    expected = sum(abs(Fraction(x) - Fraction(y)) for x, y in items) / len(items)
    assert mean_absolute_error(preds, target) == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


@check
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=30))
def test_scales_equal_libraries(items: list[tuple[float, float]]):
    preds, target = (np.array(side) for side in zip(*items, strict=True))
    assert mean_absolute_error(preds, target) == pytest.approx(sk.mean_absolute_error(target, preds), abs=1e-9)
    if min(preds.std(), target.std()) < 1e-2:  # there the libraries round differences away
        return
    assert pearson(preds, target) == pytest.approx(stats.pearsonr(preds, target).statistic, abs=1e-9)
    covariance = np.cov(preds, target, bias=True)
    agreement = 2 * covariance[0, 1] / (np.trace(covariance) + (preds.mean() - target.mean()) ** 2)
    assert concordance(preds, target) == pytest.approx(agreement, abs=1e-9)


sentiments = st.one_of(st.integers(-6, 6).map(lambda x: x / 2), st.floats(-3, 3))


@check
@given(st.lists(st.tuples(st.one_of(sentiments, numbers), sentiments), min_size=1, max_size=12))
def test_sentiment(items: list[tuple[float, float]]):
    preds, target = zip(*items, strict=True)
    for score, end in ((accuracy_7, 3), (accuracy_5, 2)):
        same = sum(round(max(-end, min(end, p))) == round(max(-end, min(end, t))) for p, t in items)
        assert score(preds, target) == pytest.approx(same / len(items), abs=1e-9)
    same = sum((p >= 0) == (t >= 0) for p, t in items)
    assert accuracy_2_nonnegative(preds, target) == pytest.approx(same / len(items), abs=1e-9)
    kept = [(p, t) for p, t in items if t != 0]
    if not kept:
        with pytest.raises(EvaluationError, match="targets are 0"):
            accuracy_2_nonzero(preds, target)
        return
    share = sum((p > 0) == (t > 0) for p, t in kept) / len(kept)
    assert accuracy_2_nonzero(preds, target) == (pytest.approx(share, abs=1e-9), len(items) - len(kept))


@check
@given(probabilities())
def test_calibration(drawn: tuple[np.ndarray, np.ndarray]):
    probs, target = drawn
    sums = 0.0
    for i in range(15):
        inside = [
            (max(row), float(np.argmax(row) == t))
            for row, t in zip(probs.tolist(), target.tolist(), strict=True)
            if i / 15 < max(row) <= (i + 1) / 15
        ]
        sums += abs(sum(c for c, _ in inside) - sum(r for _, r in inside))
    assert expected_calibration_error(probs, target) == pytest.approx(sums / len(target), abs=1e-9)
    squares = 0.0
    for row, t in zip(probs.tolist(), target.tolist(), strict=True):
        squares += sum((p - (i == t)) ** 2 for i, p in enumerate(row))
    assert brier(probs, target) == pytest.approx(squares / len(target), abs=1e-9)
    if probs.shape[1] > 2:
        expected = sk.brier_score_loss(target, probs, labels=range(probs.shape[1]), scale_by_half=False)
        assert brier(probs, target) == pytest.approx(expected, abs=1e-9)


@check
@given(probabilities())
def test_risk_and_coverage(drawn: tuple[np.ndarray, np.ndarray]):
    probs, target = drawn
    confidence, wrong = probs.max(1).tolist(), (probs.argmax(1) != target).tolist()
    points = risk_coverage(probs, target)
    assert [p.threshold for p in points] == sorted(set(confidence), reverse=True)
    for point in points:
        answered = [w for c, w in zip(confidence, wrong, strict=True) if c >= point.threshold]
        assert point.coverage == pytest.approx(len(answered) / len(wrong), abs=1e-9)
        assert point.risk == pytest.approx(sum(answered) / len(answered), abs=1e-9)
    area = area_under_risk_coverage(probs, target)
    assert 0.0 <= area <= 1.0
    if len(wrong) > 6:
        return
    # Every order that goes from the surest to the least sure, equally likely.
    areas = []
    for order in itertools.permutations(range(len(wrong))):
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order)):
            risks = [sum(wrong[i] for i in order[:k]) / k for k in range(1, len(wrong) + 1)]
            areas.append(sum(risks) / len(risks))
    assert area == pytest.approx(sum(areas) / len(areas), abs=1e-9)


anything = st.one_of(numbers, st.floats(allow_nan=True, allow_infinity=True))


@pytest.mark.parametrize("name", list(METRICS))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_comes_gives_a_number_in_range_or_an_error_with_a_remedy(name: str, data: st.DataObject):
    metric = METRICS[name]
    n, k = data.draw(st.integers(1, 4)), 1 if metric.task == "sentiment" else data.draw(st.integers(1, 3))
    if metric.task == "single-label" and data.draw(st.booleans()):
        outputs, target = data.draw(probabilities())
    else:
        outputs = np.array(data.draw(st.lists(anything, min_size=n * k, max_size=n * k))).reshape(n, k)
        values = {"single-label": st.integers(0, k), "dimensional": anything, "sentiment": anything}
        cells = n if metric.task == "single-label" else n * k
        chosen = values.get(metric.task, st.integers(0, 1))
        drawn = np.array(data.draw(st.lists(chosen, min_size=cells, max_size=cells)))
        target = drawn if metric.task == "single-label" else drawn.reshape(n, k)
    for absent in ("error", "exclude"):
        try:
            value = metric.function(outputs, target, absent)
        except EvaluationError as error:
            undefined = error
        else:
            assert isinstance(value, float)
            assert math.isfinite(value)
            assert metric.low <= value <= metric.high
            continue
        assert undefined.remedy, undefined
