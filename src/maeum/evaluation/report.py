"""The report of a run: what was scored, every score with its interval, and what a trivial answer would have got."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from maeum.errors import EvaluationError
from maeum.evaluation.base import METRICS, Absent, Floats, Metric, as_floats, metrics_of
from maeum.evaluation.bootstrap import Interval, bootstrap_interval, score_of_drawn
from maeum.evaluation.calibration import ReliabilityBin, fit_margins, fit_temperature, reliability
from maeum.evaluation.dimensional import concordance, labelled, mean_absolute_error, pearson
from maeum.evaluation.metrics import class_table, confusion_matrix
from maeum.evaluation.multilabel import label_accuracy, label_f1, weighted_accuracy
from maeum.evaluation.passport import Provenance
from maeum.evaluation.ranking import label_average_precision, label_roc_auc
from maeum.evaluation.thresholds import Thresholds, choose_thresholds
from maeum.evaluation.trivial import chance_score, majority_score
from maeum.files import write_whole
from maeum.labels import LabelSet


@dataclass(frozen=True)
class PredictionSet:
    """What a model said about the items of one part.

    ids: utterances. logits: ``(n, labels)`` before softmax or sigmoid. target: as `LabelSet.encode` gives them,
    stacked. groups: each item's speaker (or recording), from which intervals are drawn; None where unknown. expected:
    all ids that should have been answered, when known: one that is missing is an error, never a smaller n. features:
    ``(n, d)``, what the model made of each item before it answered; None when they were not kept.

    Raises:
        EvaluationError: when lengths differ, an id is there twice, or an expected one is missing.
    """

    ids: tuple[str, ...]
    logits: Tensor
    target: Tensor
    groups: tuple[str | None, ...] | None = None
    expected: tuple[str, ...] | None = None
    features: Tensor | None = None

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.logits) == len(self.target):
            raise EvaluationError(f"{len(self.ids)} ids, {len(self.logits)} predictions and {len(self.target)} targets")
        if self.groups is not None and len(self.groups) != len(self.ids):
            raise EvaluationError(f"{len(self.ids)} ids and {len(self.groups)} groups")
        if len(set(self.ids)) < len(self.ids):
            raise EvaluationError("an utterance was predicted twice", item=_first_repeat(self.ids))
        if self.expected is not None:
            if missing := sorted(set(self.expected) - set(self.ids)):
                raise EvaluationError(f"{len(missing)} utterances have no prediction", item=missing[0],
                                      remedy="Predict every utterance, also one without faces.")  # fmt: skip
            if strange := sorted(set(self.ids) - set(self.expected)):
                raise EvaluationError("was predicted but is not among the expected utterances", item=strange[0])

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Score:
    """A metric's value and its bootstrap interval; None where the groups are too few for one."""

    value: float
    interval: Interval | None = None

    def words(self, form: str = ".3f") -> str:
        """As it is printed in one cell: ``0.679 (0.658 to 0.696)``."""
        return f"{self.value:{form}}" + ("" if self.interval is None else f" ({self.interval.words(form)})")


@dataclass(frozen=True)
class Report:
    """Scores of one run on one part.

    scores: metric -> value and interval. classes: a row per label. confusion: counts, rows true, columns predicted
    (single-label). majority, chance: metric -> what the same answer for every item gets on these items, and the model's
    answers dealt out at random (`maeum.evaluation.trivial`); only where they are defined. temperature, thresholds,
    margins: fitted on dev; None without dev. provenance: where the predictions come from. notes: what the reader has to
    know. overlap: says that what was scored and what was trained on share speakers or recordings, where that was
    allowed; belongs beside every score. Empty when they share nothing, None when it is not known. groups: speakers;
    None when no item has one. alone: items without a speaker, where others have one; each is a group of its own.
    """

    name: str
    label_set: dict[str, object]
    items: int
    groups: int | None
    scores: dict[str, Score]
    classes: tuple[dict[str, Any], ...]
    confusion: tuple[tuple[int, ...], ...] | None = None
    majority: dict[str, float] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    temperature: float | None = None
    thresholds: tuple[float, ...] | None = None
    margins: tuple[float | None, ...] | None = None
    reliability: tuple[ReliabilityBin, ...] = ()
    provenance: Provenance | None = None
    notes: tuple[str, ...] = ()
    overlap: str | None = None
    alone: int = 0

    def __getitem__(self, metric: str) -> float:
        """The value of a metric."""
        return self.scores[metric].value

    @property
    def interval_over(self) -> str:
        """What intervals are drawn from."""
        if self.groups is None:
            return "items"
        return f"speakers and {self.alone} items without one" if self.alone else "speakers"

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

    def decided_for(self, metric: str) -> str:
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
    test: PredictionSet,
    label_set: LabelSet,
    dev: PredictionSet | None = None,
    *,
    name: str = "",
    resamples: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] | None = None,
    absent: Absent = "error",
    thresholds: Sequence[float] | None = None,
    margins: Sequence[float | None] | None = None,
    provenance: Provenance | None = None,
) -> Report:
    """Score test predictions; everything that is tuned is tuned on dev predictions, given apart or before.

    Args:
        test: what is scored.
        label_set: what the labels are; metrics are those of its task.
        dev: what temperature (single-label), thresholds (multi-label) and margins (scales) are fitted on. None:
            nothing is fitted here.
        name: of the run.
        resamples: of the bootstrap; 0 makes no intervals.
        seed: of the bootstrap.
        metrics: names, all that `metrics_of` gives when None.
        absent: what to do about a class without test items: ``error``, or ``exclude`` it from means and say so; a score
            that is undefined all the same is then left out, with a note, unless no other is defined either.
        thresholds: that a multi-label model came with, one per label; instead of dev.
        margins: that a model of scales came with, one per scale, see `calibration.fit_margins`; instead of dev.
        provenance: where the predictions come from; goes into the report as it is.

    Raises:
        EvaluationError: when dev and test share an utterance, thresholds or margins are given beside dev or do not
            fit, or a score is undefined.
        ConfigError: on an unknown metric.
    """
    if dev is not None:
        if thresholds is not None or margins is not None:
            what = "thresholds" if margins is None else "margins"
            raise EvaluationError(f"{what} were given beside the dev predictions to fit them on")
        _check_apart(dev, test)
    fitting = metrics_of(label_set)
    names = fitting if metrics is None else list(metrics)
    for metric in names:
        ranks = METRICS[metric].task == "ranking" and label_set.task != "dimensional"
        if METRICS[metric].task != label_set.task and metric not in fitting and not ranks:
            raise EvaluationError(f"the metric {metric} is for {METRICS[metric].task} targets, not {label_set.task}")
    notes: list[str] = []
    if dev is not None and (both := _speakers(dev) & _speakers(test)):
        notes.append(f"{len(both)} speakers are in dev and in test")
    temperature: float | None = None
    logits = test.logits.detach().cpu().double()
    if dev is not None and label_set.task == "single-label":
        temperature = fit_temperature(dev.logits, dev.target)
        logits = logits / temperature
    outputs = as_floats(label_set.activate(logits), "outputs", 2)
    target = test.target.detach().cpu().numpy()
    decided = outputs
    if label_set.task == "dimensional" and dev is not None:
        margins = fit_margins(label_set.activate(dev.logits.detach().cpu().double()), dev.target)
    if margins is not None and len(margins) != len(label_set):
        raise EvaluationError(f"{len(label_set)} labels for {len(margins)} margins")
    if label_set.task == "multi-label":
        if dev is not None:
            thresholds = choose_thresholds(label_set.activate(dev.logits.detach().cpu().double()), dev.target).values
        if thresholds is not None:
            decided = Thresholds(tuple(thresholds)).apply(outputs)
        else:
            notes.append("no thresholds were fitted on dev predictions: they are 0.5")
    scores = {}
    majority: dict[str, float] = {}
    chance: dict[str, float] = {}
    undefined: EvaluationError | None = None
    for metric in names:
        given = METRICS[metric].given(outputs, decided)
        try:
            value = METRICS[metric].function(given, target, absent)
        except EvaluationError as error:
            if absent == "error":
                raise
            undefined = error
            where = "" if error.item is None else f"{error.item}, "
            notes.append(f"{metric} is left out: {where}{error.problem}")
            continue
        interval = None
        if resamples:
            try:
                interval = _interval(METRICS[metric], given, target, test.groups, resamples, seed)
            except EvaluationError as error:
                notes.append(f"no interval for {metric}: {error}")
            else:
                if interval.undefined:
                    notes.append(
                        f"{metric} is undefined in {interval.undefined} of {resamples} resamples, which lack a class "
                        "that the items have; its interval is that of the others"
                    )
        scores[metric] = Score(value, interval)
        same = majority_score(METRICS[metric], target, len(label_set))
        dealt = chance_score(METRICS[metric], given, target, seed)
        if same is not None:
            majority[metric] = same
        if dealt is not None:
            chance[metric] = dealt
    if undefined is not None and not scores:
        raise undefined
    if absent == "exclude" and label_set.task != "dimensional":
        notes += _without(label_set, target)
    if label_set.task == "dimensional" and (without := int(np.isnan(target).any(1).sum())):
        items = "1 item has" if without == 1 else f"{without} items have"
        notes.append(f"{items} values of some scales only; each scale is scored on the items that have one")
    groups = len(_speakers(test)) or None
    if groups is not None and groups < 10 and resamples:
        notes.append(f"intervals are drawn from {groups} speakers only and are rough")
    return Report(
        name=name,
        label_set=label_set.to_dict(),
        items=len(test),
        groups=groups,
        scores=scores,
        temperature=temperature,
        thresholds=None if thresholds is None else tuple(thresholds),
        margins=None if margins is None else tuple(margins),
        provenance=provenance,
        notes=tuple(notes),
        majority=majority,
        chance=chance,
        alone=0 if groups is None else sum(group is None for group in test.groups or ()),
        **_details(label_set, outputs, decided, test.target, margins),
    )


def _without(label_set: LabelSet, target: Any) -> Iterator[str]:
    """Which labels are left out of means, in words: those of no item, and of several labels those of every item."""
    counts = np.bincount(target, minlength=len(label_set)) if label_set.task == "single-label" else target.sum(0)
    of_none = [name for name, count in zip(label_set.names, counts.tolist(), strict=True) if not count]
    of_all = [name for name, count in zip(label_set.names, counts.tolist(), strict=True) if count == len(target)]
    if of_none:
        yield f"no items of {', '.join(of_none)}: left out of means over classes"
    if of_all and label_set.task == "multi-label":
        yield f"every item has {', '.join(of_all)}: left out of means that need items without"


def _interval(
    metric: Metric, given: Floats, target: Any, groups: Sequence[str | None] | None, resamples: int, seed: int
) -> Interval:
    score, bounds = score_of_drawn(metric, given, target), (metric.low, metric.high)
    return bootstrap_interval(score, len(given), groups, resamples=resamples, seed=seed, bounds=bounds)


def _speakers(items: PredictionSet) -> set[str]:
    return {group for group in items.groups or () if group is not None}


def _check_apart(dev: PredictionSet, test: PredictionSet) -> None:
    """Dev and test must not be the same items; what is tuned on test items says nothing about new ones."""
    if shared := sorted(set(dev.ids) & set(test.ids)):
        raise EvaluationError(f"{len(shared)} utterances are in dev and in test", item=shared[0],
                              remedy="Fit thresholds and temperature on dev only.")  # fmt: skip


def _details(
    label_set: LabelSet, outputs: Floats, decided: Floats, target: Tensor, margins: Sequence[float | None] | None
) -> dict[str, Any]:
    """What a report of this task shows beside its scores."""
    if label_set.task == "single-label":
        preds, true = outputs.argmax(1), target.cpu().numpy()
        table = class_table(preds, true, label_set.names)
        return {
            "classes": tuple(asdict(row) for row in table),
            "confusion": tuple(map(tuple, confusion_matrix(preds, true, len(label_set)).tolist())),
            "reliability": tuple(reliability(outputs, true)),
        }
    if label_set.task == "multi-label":
        true = target.cpu().double().numpy()
        said = (decided > 0.5).astype(np.float64)
        counts = (x.sum(0).astype(int).tolist() for x in (true, said))
        rows = zip(label_set.names, *counts, weighted_accuracy(said, true), label_f1(said, true),
                   label_accuracy(said, true), label_roc_auc(outputs, true), label_average_precision(outputs, true),
                   strict=True)  # fmt: skip
        keys = ("name", "support", "predicted", "wacc", "f1", "accuracy", "roc_auc", "ap")
        return {"classes": tuple(dict(zip(keys, row, strict=True)) for row in rows)}
    true = target.cpu().double().numpy()
    columns = zip(label_set.names, labelled(outputs, true), margins or (None,) * len(label_set), strict=True)
    return {"classes": tuple(_scale(name, said, wanted, margin) for name, (said, wanted), margin in columns)}


def _scale(name: str, said: Floats, true: Floats, margin: float | None) -> dict[str, Any]:
    """One scale's row; None where a score is undefined. inside: the share of items within the margin."""
    row: dict[str, Any] = {"name": name, "support": len(true), "mean": float(true.mean()) if len(true) else None}
    for key, score in (("ccc", concordance), ("pearson", pearson), ("mae", mean_absolute_error)):
        row[key] = _score_or_none(score, said, true)
    return row | {"inside": None if margin is None or not len(true) else float((np.abs(said - true) <= margin).mean())}


def _score_or_none(score: Callable[..., float], *arguments: Any) -> float | None:
    try:
        return score(*arguments)
    except EvaluationError:
        return None


def _first_repeat(ids: Sequence[str]) -> str:
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            return id
        seen.add(id)
    raise AssertionError("no id repeats")


__all__ = ["PredictionSet", "Report", "Score", "evaluate"]
