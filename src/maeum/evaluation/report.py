"""The report of a run: what was scored, each score with its interval, and what baselines score on the same items."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maeum.errors import EvaluationError
from maeum.evaluation.base import METRICS, Absent, Floats, as_floats, metrics_of
from maeum.evaluation.calibration import ReliabilityBin
from maeum.evaluation.intervals import (
    FEWEST_GROUPS,
    Interval,
    few_groups_warning,
    format_score,
    score_interval,
    score_of_items,
)
from maeum.evaluation.label_rows import label_details
from maeum.evaluation.predictions import PredictionSet, Provenance
from maeum.evaluation.thresholds import Thresholds
from maeum.evaluation.trivial import chance_score, majority_score
from maeum.files import write_whole
from maeum.labels import LabelSet
from maeum.wording import alternatives, counted


@dataclass(frozen=True)
class Score:
    """A metric's value and its interval; None where the groups are too few for one."""

    value: float
    interval: Interval | None = None

    def format(self, form: str = ".3f") -> str:
        """As it is printed in one cell: ``0.679 (0.658 to 0.696)``."""
        return format_score(self.value, self.interval, form)


@dataclass(frozen=True)
class Report:
    """Scores of one run on one part."""

    name: str
    """What was scored, in a line."""
    label_set: dict[str, object]
    """As `LabelSet.to_dict` gives it."""
    items: int
    """How many were scored."""
    groups: int | None
    """How many speakers they are of; None when no item has one."""
    scores: dict[str, Score]
    """Metric -> value and interval."""
    classes: tuple[dict[str, Any], ...]
    """A row for each label."""
    confusion: tuple[tuple[int, ...], ...] | None = None
    """Counts, rows true, columns predicted; of one label an item alone."""
    majority: dict[str, float] = field(default_factory=dict)
    """Metric -> score of the majority baseline on these items, where it is defined."""
    chance: dict[str, float] = field(default_factory=dict)
    """Metric -> score of the model's own answers dealt out at random, where it is defined."""
    thresholds: tuple[float, ...] | None = None
    """By which several labels were decided; None for 0.5."""
    margins: tuple[float | None, ...] | None = None
    """Of scales, see `calibration.fit_margins`."""
    reliability: tuple[ReliabilityBin, ...] = ()
    """Confidence against accuracy; of one label an item alone."""
    provenance: Provenance | None = None
    """Where the predictions come from."""
    notes: tuple[str, ...] = ()
    """What the reader has to know."""
    overlap: str | None = None
    """What the scored items share with the training items, where that was allowed; belongs beside every score. Empty
    when they share nothing, None when it is not known."""
    ungrouped: int = 0
    """Items without a speaker, where others have one; each is a group of its own."""

    def __getitem__(self, metric: str) -> float:
        """The value of a metric."""
        return self.scores[metric].value

    @property
    def interval_over(self) -> str:
        """The groups by which intervals are computed."""
        if self.groups is None:
            return "items"
        return f"speakers and {counted(self.ungrouped, 'item')} without one" if self.ungrouped else "speakers"

    @property
    def speakers_warning(self) -> str:
        """Says that the speakers are few; empty where they are not, or where intervals were not asked for."""
        enough = self.groups is None or self.groups + self.ungrouped >= FEWEST_GROUPS
        if enough and all(score.interval is None for score in self.scores.values()):
            return ""
        return few_groups_warning(self.groups, self.ungrouped)

    @property
    def decision(self) -> str:
        """How an output becomes an answer."""
        task = self.label_set["task"]
        if task == "single-label":
            return "the label with the highest probability"
        if task == "dimensional":
            return "the values as they are"
        if self.thresholds is None:
            return "labels with a probability above 0.5"
        names = self.label_set["names"]
        assert isinstance(names, list | tuple)
        fitted = ", ".join(f"{name} {t:.3f}" for name, t in zip(names, self.thresholds, strict=True))
        return f"labels with a probability above their threshold, chosen on dev: {fitted}"

    def decision_of(self, metric: str) -> str:
        """How an output becomes what a metric judges: an answer, or the output as it is."""
        if METRICS[metric].judges == "decisions" or self.label_set["task"] == "dimensional":
            return self.decision
        return "none: the probabilities as they are"

    def to_json(self) -> str:
        """JSON without NaN."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False)

    def save(self, path: Path | str) -> None:
        """Write as JSON."""
        write_whole(Path(path), self.to_json() + "\n")


def evaluate(
    predictions: PredictionSet,
    label_set: LabelSet,
    *,
    name: str = "",
    metrics: Sequence[str] | None = None,
    intervals: bool = True,
    absent: Absent = "error",
    thresholds: Sequence[float] | None = None,
    margins: Sequence[float | None] | None = None,
    provenance: Provenance | None = None,
    seed: int = 0,
) -> Report:
    """Score predictions. Nothing is fitted here: thresholds and margins come from other items, and are given.

    Args:
        predictions: what is scored.
        label_set: what the labels are; metrics are those of its task.
        name: of the run.
        metrics: names, all that `metrics_of` gives when None.
        intervals: whether scores get intervals; see `maeum.evaluation.intervals`.
        absent: what to do about a class without items: ``error``, or ``exclude`` it from means and say so; a score
            that is undefined all the same is then left out, with a note, unless no other is defined either.
        thresholds: of a multi-label model, one per label, see `choose_thresholds`; 0.5 when None.
        margins: of a dimensional model, one per scale, see `calibration.fit_margins`.
        provenance: where the predictions come from; goes into the report as it is.
        seed: of the shuffles for chance, and of blocks of groups.

    Raises:
        EvaluationError: when thresholds or margins do not fit, or a score is undefined.
        ConfigError: on an unknown metric.
    """
    names = _fitting(metrics, label_set)
    outputs = as_floats(label_set.activate(predictions.logits.detach().cpu().double()), "outputs", 2)
    target = predictions.target.detach().cpu().numpy()
    if margins is not None and len(margins) != len(label_set):
        raise EvaluationError(f"{counted(len(label_set), 'label')} for {counted(len(margins), 'margin')}")
    several = label_set.task == "multi-label"
    decided = outputs if thresholds is None or not several else Thresholds(tuple(thresholds)).apply(outputs)
    scored = _Scored(label_set, outputs, decided, target, predictions.groups, seed)
    notes = ["no thresholds were fitted on dev predictions: they are 0.5"] if several and thresholds is None else []
    values, undefined = scored.values(names, absent)
    notes += undefined
    groups = len(predictions.speakers) or None
    ungrouped = 0 if groups is None else sum(group is None for group in predictions.groups or ())
    ranges: dict[str, Interval] = {}
    if intervals and (len(target) if groups is None else groups + ungrouped) >= FEWEST_GROUPS:
        ranges, without = scored.intervals(list(values))
        notes += without
    baselines = scored.baselines(list(values))
    if absent == "exclude" and label_set.task != "dimensional":
        notes += _classes_left_out(label_set, target)
    if label_set.task == "dimensional" and (partial := int(np.isnan(target).any(1).sum())):
        items = "1 item has" if partial == 1 else f"{partial} items have"
        notes.append(f"{items} values of some scales only; each scale is scored on the items that have one")
    return Report(
        name=name,
        label_set=label_set.to_dict(),
        items=len(predictions),
        groups=groups,
        scores={metric: Score(value, ranges.get(metric)) for metric, value in values.items()},
        thresholds=None if thresholds is None else tuple(thresholds),
        margins=None if margins is None else tuple(margins),
        provenance=provenance,
        notes=tuple(notes),
        majority=baselines[0],
        chance=baselines[1],
        ungrouped=ungrouped,
        **label_details(label_set, outputs, decided, predictions.target, margins),
    )


def _fitting(metrics: Sequence[str] | None, label_set: LabelSet) -> list[str]:
    """The names of the metrics to score; raises EvaluationError on one of another task."""
    fitting = metrics_of(label_set)
    names = fitting if metrics is None else list(metrics)
    for metric in names:
        ranks = METRICS[metric].task == "ranking" and label_set.task != "dimensional"
        if METRICS[metric].task != label_set.task and metric not in fitting and not ranks:
            raise EvaluationError(f"the metric {metric} is for {METRICS[metric].task} targets, not {label_set.task}")
    return names


@dataclass(frozen=True)
class _Scored:
    """Outputs, decisions and targets of the same items, as metrics take them."""

    label_set: LabelSet
    outputs: Floats
    decided: Floats
    target: NDArray[Any]
    groups: Sequence[str | None] | None
    seed: int

    def values(self, names: Sequence[str], absent: Absent) -> tuple[dict[str, float], list[str]]:
        """The value of each metric, and notes on those that are undefined; raises EvaluationError where all are."""
        values: dict[str, float] = {}
        notes: list[str] = []
        last: EvaluationError | None = None
        for name in names:
            try:
                values[name] = METRICS[name].function(self._judged(name), self.target, absent)
            except EvaluationError as error:
                last = EvaluationError(self._by_name(error.problem), item=error.item, remedy=error.remedy)
                if absent == "error":
                    raise last from error
                where = "" if error.item is None else f"{error.item}, "
                notes.append(f"{name} is left out: {where}{last.problem}")
        if last is not None and not values:
            raise last
        return values, notes

    def intervals(self, names: Sequence[str]) -> tuple[dict[str, Interval], list[str]]:
        """The interval of each metric, and notes on those that have none: one for each reason."""
        found: dict[str, Interval] = {}
        reasons: dict[str, list[str]] = {}
        for name in names:
            metric = METRICS[name]
            score = score_of_items(metric, self._judged(name), self.target)
            try:
                found[name] = score_interval(
                    score, len(self.target), self.groups, bounds=(metric.low, metric.high), seed=self.seed
                )
            except EvaluationError as error:
                reasons.setdefault(self._by_name(error.problem), []).append(name)
        return found, [f"no interval for {', '.join(of)}: {reason}" for reason, of in reasons.items()]

    def baselines(self, names: Sequence[str]) -> tuple[dict[str, float], dict[str, float]]:
        """What the majority baseline and chance score, where that is defined."""
        majority = {n: majority_score(METRICS[n], self.target, len(self.label_set)) for n in names}
        chance = {n: chance_score(METRICS[n], self._judged(n), self.target, self.seed) for n in names}
        return _defined(majority), _defined(chance)

    def _by_name(self, problem: str) -> str:
        """What a metric says of classes, which it knows by number, with their names."""

        def name(found: re.Match[str]) -> str:
            names = [self.label_set.names[int(number)] for number in found[1].split(", ")]
            return f"no item is {alternatives(names)}"

        return re.sub(r"classes \[(\d+(?:, \d+)*)\] have no items", name, problem)

    def _judged(self, name: str) -> Floats:
        return METRICS[name].given(self.outputs, self.decided)


def _defined(scores: dict[str, float | None]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if score is not None}


def _classes_left_out(label_set: LabelSet, target: Any) -> Iterator[str]:
    """Notes on labels that are left out of means: those of no item, and of several labels those of every item."""
    counts = np.bincount(target, minlength=len(label_set)) if label_set.task == "single-label" else target.sum(0)
    of_none = [name for name, count in zip(label_set.names, counts.tolist(), strict=True) if not count]
    of_all = [name for name, count in zip(label_set.names, counts.tolist(), strict=True) if count == len(target)]
    if of_none:
        yield f"no items of {', '.join(of_none)}: left out of means over classes"
    if of_all and label_set.task == "multi-label":
        yield f"every item has {', '.join(of_all)}: left out of means that need items without"


__all__ = ["Report", "Score", "evaluate"]
