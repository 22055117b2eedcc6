"""How the classes lie in the features of a study's networks, and which are taken for which.

The reviewers of Ghosh et al. 2023 asked for it: confusion matrices alone did not show what each of the losses does to
the neutral class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from maeum.errors import ConfigError, EvaluationError
from maeum.evaluation.base import Floats, Ints
from maeum.evaluation.features import class_distances, project, silhouettes
from maeum.labels import LabelSet
from maeum.reports import figures
from maeum.reports.tables import markdown_table
from maeum.runs.evaluate import Evaluation
from maeum.studies.seeds import SeededScore, mean_over_seeds
from maeum.studies.study import Study, StudyPage, first_fold, score_all, train_all, variants
from maeum.studies.tables import head

_NEUTRAL = "neutral"
_ABOUT_NEUTRAL = (
    "- neutral to others: distance of the mean of the neutral class to those of the others, on average.",
    "- taken for neutral: share of the items of other classes that are answered as neutral.",
)


def features(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """Distances between classes, silhouettes and what is taken for neutral, of each network, with intervals."""
    chosen = variants(study, list(study.entries))
    study, chosen = first_fold(study, chosen)
    done = [score_all(study, runs, features=True) for runs in train_all(study, chosen, out, device, console)]
    names = list(LabelSet.from_dict(done[0][0].report.label_set).names)
    if done[0][0].predictions.target.ndim != 1:
        raise ConfigError("has several labels an item, or scales, so there are no classes to part", item=study.name)
    target = done[0][0].predictions.target.numpy()
    neutral = _NEUTRAL in names and bool((target == names.index(_NEUTRAL)).any())
    statistics = {title: kind for title, kind in _STATISTICS.items() if neutral or _NEUTRAL not in title}
    rows, numbers, files = [], [], {}
    scorers = [{title: [kind(run, names) for run in runs] for title, kind in statistics.items()} for runs in done]
    for number, (variant, runs, mine) in enumerate(zip(chosen, done, scorers, strict=True)):
        found = {title: mean_over_seeds(title, [sides], runs) for title, sides in mine.items()}
        minus = {
            title: mean_over_seeds(title, [sides, scorers[0][title]], [*runs, *done[0]])
            for title, sides in (mine.items() if number else ())
        }
        rows.append([variant.title, *(found[title].format() for title in statistics)])
        if number:
            rows.append(["minus the first", *(minus[title].format("+.3f") for title in statistics)])
        numbers.append({"title": variant.title, "statistics": {t: _record(s) for t, s in found.items()},
                        "minus_first": {t: _record(s) for t, s in minus.items()}})  # fmt: skip
        first = runs[0].predictions
        assert first.features is not None
        drawn = figures.projection(project(first.features.double().numpy()), first.target.numpy(), names)
        files[f"features-{variant.key}.svg"] = drawn
    lines = [
        *head(study, "How the classes lie in what the answer is made of", done[0]),
        *markdown_table(["network", *statistics], rows), "",
        "- silhouette: how much nearer an item is to its own class than to the next one, -1..1.",
        "- nearest classes, all classes: distance between the means of classes, of the two that are nearest and on "
        "average, in units of the root mean square distance of items to the mean of their own class.",
        *(_ABOUT_NEUTRAL if neutral else ()), "",
        *(f"{variant.title}, first seed: ![{variant.title}](features-{variant.key}.svg)" for variant in chosen), "",
    ]  # fmt: skip
    return StudyPage("\n".join(lines), {"study": study.name, "rows": numbers}, {**files})


def confusion(study: Study, out: Path | str, device: str = "cpu", console: Console | None = None) -> StudyPage:
    """Which class is taken for which, by each network, summed over its seeds."""
    chosen = variants(study, list(study.entries))
    done = [score_all(study, runs) for runs in train_all(study, chosen, out, device, console)]
    names = list(LabelSet.from_dict(done[0][0].report.label_set).names)
    if done[0][0].predictions.target.ndim != 1:
        raise ConfigError("has several labels an item, or scales, so none is taken for another", item=study.name)
    lines, numbers, files = head(study, "Which class is taken for which, counts over all seeds", done[0]), [], {}
    for variant, runs in zip(chosen, done, strict=True):
        counts = sum(_counts(run, len(names)) for run in runs)
        assert not isinstance(counts, int)
        files[f"confusion-{variant.key}.svg"] = figures.confusion(counts.tolist(), names)
        lines += [f"{variant.title}: ![{variant.title}](confusion-{variant.key}.svg)", ""]
        numbers.append({"title": variant.title, "counts": counts.tolist()})
    return StudyPage("\n".join(lines), {"study": study.name, "labels": names, "rows": numbers}, {**files})


def _counts(run: Evaluation, classes: int) -> NDArray[np.int64]:
    true, answered = run.predictions.target.numpy(), run.predictions.logits.argmax(1).numpy()
    return np.bincount(true * classes + answered, minlength=classes * classes).reshape(classes, classes)


def _silhouette(run: Evaluation, names: Sequence[str]) -> Callable[[Ints], float]:
    """Of drawn items the mean of what each item's silhouette is among all: an item drawn twice is not near itself."""
    values = silhouettes(_features(run), run.predictions.target.numpy(), len(names))
    return lambda drawn: float(values[drawn].mean())


def _nearest(run: Evaluation, names: Sequence[str]) -> Callable[[Ints], float]:
    return _distance(run, names, lambda apart: float(apart[~np.eye(len(apart), dtype=bool)].min()))


def _average(run: Evaluation, names: Sequence[str]) -> Callable[[Ints], float]:
    return _distance(run, names, lambda apart: float(apart[~np.eye(len(apart), dtype=bool)].mean()))


def _of_neutral(run: Evaluation, names: Sequence[str]) -> Callable[[Ints], float]:
    place = int((np.unique(run.predictions.target.numpy()) < names.index(_NEUTRAL)).sum())
    return _distance(run, names, lambda apart: float(np.delete(apart[place], place).mean()))


def _taken_for_neutral(run: Evaluation, names: Sequence[str]) -> Callable[[Ints], float]:
    place = names.index(_NEUTRAL)
    true, answered = run.predictions.target.numpy(), run.predictions.logits.argmax(1).numpy()

    def share(drawn: Ints) -> float:
        others = drawn[true[drawn] != place]
        if not len(others):
            raise EvaluationError("no item of another class was drawn")
        return float((answered[others] == place).mean())

    return share


def _distance(run: Evaluation, names: Sequence[str], of: Callable[[Floats], float]) -> Callable[[Ints], float]:
    values, target = _features(run), run.predictions.target.numpy()
    present = np.isin(np.arange(len(names)), target)

    def distance(drawn: Ints) -> float:
        apart = class_distances(values[drawn], target[drawn], len(names))
        known = [[cell for cell, wanted in zip(row, present, strict=True) if wanted] for row in apart]
        known = [row for row, wanted in zip(known, present, strict=True) if wanted]
        if any(cell is None for row in known for cell in row):
            raise EvaluationError("a class was not drawn")
        return of(np.asarray(known, np.float64))

    return distance


def _features(run: Evaluation) -> Floats:
    assert run.predictions.features is not None
    return run.predictions.features.double().numpy()


def _record(score: SeededScore) -> dict[str, Any]:
    bounds = None if score.interval is None else (score.interval.low, score.interval.high)
    return {"mean": score.value, "seeds": score.seeds, "interval": bounds}


_STATISTICS: dict[str, Callable[[Evaluation, Sequence[str]], Callable[[Ints], float]]] = {
    "silhouette": _silhouette,
    "nearest classes": _nearest,
    "all classes": _average,
    "neutral to others": _of_neutral,
    "taken for neutral": _taken_for_neutral,
}

__all__ = ["confusion", "features"]
