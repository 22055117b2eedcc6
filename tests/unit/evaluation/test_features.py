"""How classes lie in features, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from maeum.errors import EvaluationError
from maeum.evaluation.features import class_distances, project, silhouette


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60), st.integers(2, 9), st.integers(2, 4))
def test_equal_to_scikit_learn(seed, items, width, classes):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(items, width)) * rng.uniform(0.1, 10, width)
    target = np.concatenate((np.arange(classes), rng.integers(0, classes, items)))[:items]
    ours, theirs = project(x), PCA(2).fit(x)
    np.testing.assert_allclose(ours.explained, theirs.explained_variance_ratio_, atol=1e-9)
    np.testing.assert_allclose(np.abs(ours.points), np.abs(theirs.transform(x)), atol=1e-8)
    if 1 < len(np.unique(target)) < items:
        assert silhouette(x, target, classes) == pytest.approx(silhouette_score(x, target), abs=1e-7)


def test_silhouette_in_blocks_is_the_same():
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(2500, 3)), rng.integers(0, 3, 2500)
    assert silhouette(x, target, 3) == pytest.approx(silhouette_score(x, target), abs=1e-9)


def test_distances_are_in_units_of_the_spread():
    x = [[0.0, 1.0], [0.0, -1.0], [3.0, 1.0], [3.0, -1.0]]
    assert class_distances(x, [0, 0, 1, 1], 3) == [[0.0, 3.0, None], [3.0, 0.0, None], [None, None, None]]


def test_what_is_undefined_is_an_error():
    with pytest.raises(EvaluationError, match="two classes"):
        silhouette([[0.0], [1.0]], [0, 0], 2)
    with pytest.raises(EvaluationError, match="no unit"):
        class_distances([[0.0], [1.0]], [0, 1], 2)
    with pytest.raises(EvaluationError, match="one column"):
        project([[0.0], [1.0]])
    assert project([[1.0, 2.0], [1.0, 2.0]]).points.tolist() == [[0, 0], [0, 0]]
