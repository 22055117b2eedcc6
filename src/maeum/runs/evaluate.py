"""Score a trained model on a part of a prepared corpus, with all it is given or with each subset of modalities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from maeum.corpora.base import LeftOut
from maeum.corpora.splits import OfficialSplit, SplitConfig
from maeum.corpora.targets import Target
from maeum.data.dataset import left_out_notes
from maeum.data.store import Store
from maeum.errors import ConfigError, EvaluationError
from maeum.evaluation.conformal import prediction_sets
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import Report
from maeum.evaluation.report import evaluate as score
from maeum.labels import LabelSet
from maeum.models.calibration import subset_name
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.preparation.model_items import items_for, read_of
from maeum.preparation.transcripts import Transcripts, check_error_rate
from maeum.runs.checks import check_inputs
from maeum.runs.feature_cache import find_kept
from maeum.runs.predict import collator, predict_pretrained
from maeum.runs.provenance import provenance
from maeum.runs.trained_on import TrainedOn, format_allowed, notes_of
from maeum.types import MODALITIES, Modality
from maeum.wording import counted


@dataclass(frozen=True)
class Evaluation:
    """A report, and what it is a report of.

    modalities: those that the model reads and at least one item has. rows: of the store's index, in the order of the
    predictions. recognised: whose words were read instead of the corpus' own. about: notes on how the store was made.
    left_out: what cannot be scored. known: whether it is known what the model was trained on. chosen_on: how many of
    the items are among those on which its best epoch was chosen.
    """

    model: str
    corpus: str
    part: str
    modalities: tuple[Modality, ...]
    report: Report
    predictions: PredictionSet
    rows: tuple[dict[str, Any], ...]
    recognised: Transcripts | None = None
    about: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    known: bool = False
    chosen_on: int = 0
    calibrated_on: int = 0

    def noted(self) -> Evaluation:
        """With notes in its report on all that its fields tell."""
        recognised = () if self.recognised is None else (_format_recognised(self.recognised, self.rows),)
        left_out, trained = left_out_notes(self.left_out), notes_of(self.known, self.chosen_on, self.calibrated_on)
        notes = (*recognised, *self.report.notes, *self.about, *left_out, *trained)
        return replace(self, report=replace(self.report, notes=notes))


def evaluate(
    model: str | Path | Pretrained | None,
    store: Path | str,
    part: str = "dev",
    modalities: Sequence[Modality] | None = None,
    *,
    metrics: Sequence[str] | None = None,
    intervals: bool = True,
    batch_size: int = 64,
    target: str | Target | None = None,
    split: SplitConfig | None = None,
    sessions: Sequence[str] | None = None,
    allow_overlap: bool = False,
    features: bool = False,
    transcripts: Path | str | None = None,
    kept: Sequence[Modality] = (),
    on_batch: Callable[[int], None] | None = None,
) -> Evaluation:
    """Scores of a trained model; its temperatures, thresholds and margins are its own, nothing is fitted here.

    Items without a label, or without any of the modalities, cannot be scored: the report's notes count them. Labels of
    which there are no items are left out of means over labels, and a score that is undefined is left out; notes name
    them.

    Args:
        model: its name or folder, None for the embedded one, or itself.
        store: a prepared corpus; its labels are matched to the model's by name.
        part: of the store.
        modalities: which the model is given; all it reads when None.
        metrics: which scores, all that fit the label set when None.
        intervals: whether scores get intervals.
        batch_size: items at once.
        target: which labels or scales of the store are meant, see `StoreDataset`. When None, of a corpus that the model
            was trained on those that it learned, else the store's labels as they are.
        split: which items are in which part; when None the split that the model was trained with, and of a corpus that
            it does not know the corpus' own parts.
        sessions: these instead of the part.
        allow_overlap: score items although they share speakers, dialogues, recordings or contents with what the model
            was trained on; the report says so.
        features: keep the model's features with the predictions.
        transcripts: a file of `maeum transcribe`, whose words are read instead of the store's; the report says so, with
            their word error rate.
        kept: of ``text`` and ``speech`` take what a frozen encoder makes of the items from the store's cache, and keep
            it there; see ``cache_text`` of `Recipe`.
        on_batch: called with the number of items of each batch that is done.

    Raises:
        StoreError, ModelError: when the store or the model cannot be read.
        ConfigError: when the model reads none of the modalities, the store was decoded with other settings than the
            model's, or the word error rate of transcripts cannot be taken (`check_error_rate`).
        CorpusError: when the items share something with what the model was trained on, and that is not allowed.
        EvaluationError: when no score is defined on these items.
    """
    pretrained = model if isinstance(model, Pretrained) else load_pretrained(model)
    given = read_of(pretrained, modalities)
    corpus = Store(store)
    recognised = None if transcripts is None else Transcripts.read(transcripts)
    if recognised is not None:
        check_error_rate(corpus.rows)
    decoding = check_inputs(corpus, pretrained.settings, given)
    known = TrainedOn.read(pretrained.folder)
    everybody = corpus.members()
    chosen = split.split(everybody) if split is not None else known.split(corpus) if known is not None else None
    if target is None and known is not None and corpus.manifest["name"] in known.splits:
        target = known.target
    if sessions is not None:
        part = ", ".join(sessions)
    dataset = items_for(
        pretrained,
        corpus,
        part,
        given,
        labelled=True,
        target=target,
        split=chosen,
        sessions=sessions,
        transcripts=None if recognised is None else recognised.texts,
    )
    members = dataset.members()
    overlap = () if known is None else known.shared(members, part, allow=allow_overlap)
    collate = collator(pretrained.tokenizer, pretrained.settings)
    find_kept(pretrained.model, [dataset], collate, kept)
    predictions = predict_pretrained(
        pretrained, dataset, batch_size=batch_size, features=features, collate=collate, on_batch=on_batch
    )
    manifest = corpus.manifest
    present = dataset.present()
    name = f"{pretrained.name} on {manifest['name']} {part}, {subset_name(present)}"
    report = score(
        predictions,
        pretrained.label_set,
        name=name,
        intervals=intervals,
        metrics=metrics,
        absent="exclude",
        thresholds=pretrained.calibration.thresholds,
        margins=pretrained.calibration.margins.get(subset_name(present)),
        provenance=provenance(
            pretrained,
            dataset,
            part,
            split=(chosen or OfficialSplit().split(everybody)).format_sizes(everybody),
        ),
    )
    unplaced = () if chosen is None else chosen.notes
    report = replace(report, overlap=None if known is None else format_allowed(overlap))
    return Evaluation(
        model=pretrained.name,
        corpus=str(manifest["name"]),
        part=part,
        modalities=present,
        report=report,
        predictions=predictions,
        rows=dataset.rows,
        recognised=recognised,
        about=(*decoding, *unplaced, *_coverage_notes(pretrained, predictions, present)),
        left_out=dataset.left_out,
        known=known is not None,
        chosen_on=0 if known is None else known.chosen_on(members),
        calibrated_on=0 if known is None else known.calibrated_on(members),
    ).noted()


def _coverage_notes(model: Pretrained, predictions: PredictionSet, present: tuple[Modality, ...]) -> tuple[str, ...]:
    """How often the model's prediction sets hold the true label, and how large they are."""
    coverage = model.calibration.coverage
    if coverage is None or subset_name(present) not in coverage.thresholds:
        return ()
    sets = prediction_sets(predictions.logits.softmax(1), coverage.thresholds[subset_name(present)])
    held = float(sets[range(len(sets)), predictions.target].mean())
    size = float(sets.sum(1).mean())
    return (
        f"prediction sets for {coverage.percent} (fitted on {coverage.data}) hold the true label of {held:.1%} of "
        f"these items, with {size:.1f} labels on average",
    )


def evaluate_models(
    models: Sequence[str | Path | None], store: Path | str, part: str = "dev", **options: Any
) -> Iterator[Evaluation]:
    """One evaluation for each model, as `evaluate` makes it.

    Raises:
        ConfigError: when the models have different labels; before anything is scored.
    """
    loaded = [load_pretrained(model) for model in models]
    check_same_labels([(one.name, one.label_set) for one in loaded], str(Store(store).manifest["name"]))
    for one in loaded:
        yield evaluate(one, store, part, **options)


def check_same_labels(models: Sequence[tuple[str, LabelSet]], corpus: str) -> None:
    """Raise ConfigError when models have different labels or tasks, whose scores no table can compare.

    Args:
        models: names and label sets.
        corpus: that they are scored on.
    """
    (first, labels), *others = models
    for name, other in others:
        if other != labels:
            questions = " / ".join(", ".join(one.names) for one in (other, labels))
            raise ConfigError(f"{name} and {first} answer other questions ({questions})", item=corpus,
                              remedy="Compare models of one label set and target.")  # fmt: skip


def pooled(folds: Sequence[Evaluation], metrics: Sequence[str] | None = None) -> Evaluation:
    """Answers of several models about items that are each one's own, such as folds, scored together; no intervals.

    Where models decide at thresholds, each one's logits are shifted so that its thresholds lie at a probability of 0.5.
    There is no passport, and there are no features: different models do not share a space.

    Args:
        folds: at least one.
        metrics: see `evaluate`.

    Raises:
        EvaluationError: when an item is in two of them.
        ConfigError: when they are of different labels.
    """
    first = folds[0]
    label_set = first.report.label_set
    if other := next((f for f in folds if f.report.label_set != label_set), None):
        raise ConfigError("has other labels than the folds before it", item=other.report.name)
    answers = [f.predictions for f in folds]
    decides = first.report.thresholds is not None
    shifts = [torch.tensor(f.report.thresholds or 0.5).double().logit(1e-6) for f in folds]
    together = PredictionSet(
        ids=tuple(id for one in answers for id in one.ids),
        logits=torch.cat([one.logits - shift for one, shift in zip(answers, shifts, strict=True)]),
        target=torch.cat([one.target for one in answers]),
        groups=tuple(group for one in answers for group in one.groups or (None,) * len(one)),
    )
    part = ", ".join(dict.fromkeys(f.part for f in folds))
    report = score(
        together,
        LabelSet.from_dict(label_set),
        name=f"{first.model} on {first.corpus} {part}, {subset_name(first.modalities)}",
        intervals=False,
        metrics=metrics,
        absent="exclude",
        thresholds=(0.5,) * together.logits.shape[1] if decides else None,
    )
    overlaps = [f.report.overlap for f in folds]
    return Evaluation(
        model=first.model,
        corpus=first.corpus,
        part=part,
        modalities=first.modalities,
        report=replace(report, overlap=None if None in overlaps else "; ".join(dict.fromkeys(filter(None, overlaps)))),
        predictions=together,
        rows=tuple(row for f in folds for row in f.rows),
        recognised=first.recognised,
        about=tuple(dict.fromkeys(note for f in folds for note in f.about)),
        left_out=tuple(item for f in folds for item in f.left_out),
        known=all(f.known for f in folds),
        chosen_on=sum(f.chosen_on for f in folds),
        calibrated_on=sum(f.calibrated_on for f in folds),
    ).noted()


def _format_recognised(recognised: Transcripts, rows: Sequence[Mapping[str, Any]]) -> str:
    """Where the words are from, and how right they are."""
    rate = recognised.error_rate(rows)
    how = (
        "the corpus does not know the spoken words"
        if rate is None
        else f"word error rate {rate[0]:.3f} of {counted(rate[1], 'item')}"
    )
    return f"words were recognised by {recognised.model}: {how}"


def evaluate_subsets(
    model: str | Path | Pretrained | None,
    store: Path | str,
    part: str = "dev",
    *,
    intervals: bool = True,
    target: str | Target | None = None,
    split: SplitConfig | None = None,
    sessions: Sequence[str] | None = None,
    allow_overlap: bool = False,
) -> tuple[list[Evaluation], tuple[str, ...]]:
    """One evaluation for every subset of the modalities that the model reads and the items have; see `evaluate`.

    Returns:
        The evaluations, and a line for each modality that none of the items has: its sets are left out.
    """
    pretrained = model if isinstance(model, Pretrained) else load_pretrained(model)
    shared = [m for m in MODALITIES if m in Store(store).manifest["modalities"] and m in pretrained.model.modalities]
    if not shared:
        raise EvaluationError("the model reads none of its modalities", item=store)

    def score_with(subset: Sequence[Modality]) -> Evaluation:
        return evaluate(
            pretrained,
            store,
            part,
            subset,
            intervals=intervals,
            target=target,
            split=split,
            sessions=sessions,
            allow_overlap=allow_overlap,
        )

    together = score_with(shared)
    present, items = together.modalities, counted(together.report.items, "item")
    smaller = [s for size in range(1, len(present)) for s in combinations(present, size)]
    left_out = tuple(f"sets with {m} are left out: none of {items} has any" for m in shared if m not in present)
    return [*map(score_with, smaller), together], left_out
