"""The page on metrics: its table is the registry, its examples run, and no function is left out."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from maeum.evaluation import METRICS, calibration, dimensional, metrics, multilabel, ranking, selective, sentiment

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")

#: Title and text of each section. A section goes on with the names of the ones above it.
SECTIONS = [part.split("\n", 1) for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]]

#: Helpers of scores, and what is fitted; no scores of their own.
NOT_SCORES = {"binary_counts", "scale_pair", "reliability", "negative_log_likelihood", "fit_temperature", "labelled"}


def public_scores() -> list[str]:
    modules = (calibration, dimensional, metrics, multilabel, ranking, selective, sentiment)
    return [
        name
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_") and name not in NOT_SCORES
    ]


def test_examples():
    names: dict[str, object] = {}
    run = 0
    for title, text in SECTIONS:
        for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            example = doctest.DocTestParser().get_doctest(block, names, title, "docs/metrics.md", 0)
            said: list[str] = []
            runner = doctest.DocTestRunner(verbose=False)
            result = runner.run(example, out=said.append, clear_globs=False)
            assert not result.failed, "".join(said)
            names = example.globs
            run += result.attempted
    assert run > 50


MODULES = (calibration, dimensional, metrics, multilabel, ranking, selective, sentiment)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[1])
def test_examples_of_docstrings(module: ModuleType):
    result = doctest.testmod(module)
    assert not result.failed
    for name in public_scores():
        function = getattr(module, name, None)
        if inspect.isfunction(function) and function.__module__ == module.__name__:
            assert ">>> " in (function.__doc__ or ""), f"{name} has no example"


@pytest.mark.parametrize("name", public_scores())
def test_every_score_has_a_section_with_an_example(name: str):
    texts = [text for title, text in SECTIONS if name in title.split(", ")]
    assert len(texts) == 1
    assert re.search(rf">>> .*\b{name}\(", texts[0]), "no example calls it"


def test_the_table_is_the_registry():
    rows = re.findall(r"^\| `(\w+)` \|.*$", PAGE, flags=re.MULTILINE)
    assert rows == list(METRICS)
    for name in METRICS:
        metric = METRICS[name]
        better = "higher" if metric.higher_is_better else "lower"
        scale = f"{metric.low:g} to {metric.high:g}"
        assert f"| `{name}` | {metric.task} | {scale} | {better} | {metric.definition} |" in PAGE
