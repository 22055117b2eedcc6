"""Give a model prediction sets that hold the true label as often as required, fitted on a user's own clips."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maeum.corpora.overlaps import Member
from maeum.corpora.targets import Target
from maeum.data.store import Store
from maeum.errors import ConfigError, CorpusError
from maeum.evaluation.conformal import CoverageFit, fit_coverage, prediction_sets
from maeum.evaluation.predictions import PredictionSet
from maeum.files import Made, read_mapping
from maeum.models.calibration import Coverage, subset_name
from maeum.models.pretrained import Pretrained, load_pretrained, move_pretrained, write_calibration
from maeum.preparation.model_items import items_for, read_of, subsets_of
from maeum.runs.checks import check_inputs
from maeum.runs.finish import folder_to_fill
from maeum.runs.predict import predict_pretrained
from maeum.runs.provenance import recipe_of, write_recipe
from maeum.runs.trained_on import TrainedOn, notes_of
from maeum.types import Modality
from maeum.wording import counted


@dataclass(frozen=True)
class FittedSets:
    """What was fitted for one set of modalities, and what it gives on the clips that it was fitted on.

    size: mean number of labels in a set, 1 or more. decided: the share of clips whose set has one label.
    """

    modalities: tuple[Modality, ...]
    fit: CoverageFit
    size: float
    decided: float


def add_coverage(
    model: str | Path | None,
    store: Path | str,
    out: Path | str,
    share: float,
    *,
    part: str | None = None,
    target: str | Target | None = None,
) -> tuple[Coverage, tuple[FittedSets, ...]]:
    """Write a copy of a model folder that keeps a coverage, for each set of modalities that the clips have.

    Its probabilities stay as they are: temperatures that were fitted on the same clips would void the guarantee.

    Args:
        model: a single-label model's name or folder; None for the one that ships.
        store: the labelled clips, prepared; their labels are matched to the model's by name.
        out: the folder to write.
        share: of new clips whose set holds the true label, such as 0.9.
        part: of the store; all of it when None.
        target: which labels of the store are meant.

    Raises:
        ConfigError: when the model has no single label, or reads nothing that the store has.
        CorpusError: when the clips share something with what the model was trained on, or it was chosen or calibrated
            on some of them.
        EvaluationError: when there are too few clips for that share.
        StoreError, ModelError: when something cannot be read or written.
    """
    source, corpus, out = load_pretrained(model), Store(store), Path(out)
    if source.label_set.task != "single-label":
        raise ConfigError("a coverage needs a model of single labels", item=source.name,
                          remedy="Thresholds and intervals of other models are fitted by maeum calibrate.")  # fmt: skip
    read_of(source, corpus.manifest["modalities"])
    known = TrainedOn.read(source.folder)
    fitted: list[FittedSets] = []
    members: dict[str, Member] = {}
    for subset in subsets_of(source, corpus):
        predictions, used = _predictions(source, corpus, part, subset, target, known)
        if predictions is None:
            continue
        fit = fit_coverage(predictions.logits.softmax(1), predictions.target, share, predictions.groups)
        sets = prediction_sets(predictions.logits.softmax(1), fit.threshold)
        sizes = sets.sum(1)
        fitted.append(FittedSets(subset, fit, float(sizes.mean()), float((sizes == 1).mean())))
        members.update({member.id: member for member in used})
    if not fitted:
        raise ConfigError("has no clips with a label that the model can be given", item=store)
    coverage = Coverage(
        share=share,
        thresholds={subset_name(one.modalities): one.fit.threshold for one in fitted},
        new_people=all(one.fit.new_people for one in fitted),
        data=_data(corpus, fitted),
    )
    _write(source, coverage, out, None if known is None else known.after_calibration(members.values()))
    return coverage, tuple(fitted)


def made_by_coverage(folder: Path) -> bool:
    """Whether a folder holds a model that this wrote before."""
    stored = read_mapping(folder / "config.json").get("calibration")
    return isinstance(stored, dict) and bool(stored.get("coverage"))


#: Recognises a folder that may be replaced.
MADE = Made("a model with a coverage as maeum calibrate wrote it before", made_by_coverage, ("README.md",))


def _predictions(
    source: Pretrained,
    corpus: Store,
    part: str | None,
    subset: tuple[Modality, ...],
    target: str | Target | None,
    known: TrainedOn | None,
) -> tuple[PredictionSet | None, tuple[Member, ...]]:
    """Calibrated predictions of the labelled clips that have all of a set of modalities; None where there are none."""
    items = items_for(source, corpus, part, subset, labelled=True, target=target)
    if known is not None:
        known.shared(items.members(), "the clips")
        _check_new(known, items.members())
    check_inputs(corpus, source.settings, subset)
    predictions = predict_pretrained(source, items)
    whole = [
        i
        for i, n in enumerate(items.lengths)
        if all({"faces": n.frames, "speech": n.mel_chunks, "text": n.text_chars}[m] for m in subset)
    ]
    if not whole:
        return None, ()
    groups = predictions.groups
    chosen = replace(
        predictions,
        ids=tuple(predictions.ids[i] for i in whole),
        logits=predictions.logits[whole],
        target=predictions.target[whole],
        groups=None if groups is None else tuple(groups[i] for i in whole),
    )
    return chosen, tuple(items.members()[i] for i in whole)


def _check_new(known: TrainedOn, clips: Sequence[Member]) -> None:
    """Raise CorpusError where the model was chosen or calibrated on some of the clips, so is better on them."""
    for met in notes_of(True, known.chosen_on(clips), known.calibrated_on(clips)):
        raise CorpusError(f"{met}, so they say nothing about new ones", item="coverage",
                          remedy="Give clips that the model has not met; instead of a model that has a coverage of "
                          "them, the one that it was made from.")  # fmt: skip


def _data(corpus: Store, fitted: list[FittedSets]) -> str:
    most = max((one.fit for one in fitted), key=lambda fit: fit.items)
    people = f" of {counted(most.people, 'speaker')}" if most.people else ""
    return f"{corpus.manifest['name']}, {counted(most.items, 'clip')}{people}"


def _write(source: Pretrained, coverage: Coverage, out: Path, known: TrainedOn | None) -> None:
    """Copy the model's folder, with the coverage in its calibration and a line on its card."""
    before, recipe = source.calibration.coverage, recipe_of(source.folder)
    assert source.folder is not None
    with folder_to_fill(out) as written:
        for path in source.folder.iterdir():
            if path.is_dir() and path.name == "tokenizer":
                shutil.copytree(path, written / path.name)
            elif path.is_file():
                shutil.copyfile(path, written / path.name)
        if known is not None:
            known.write(written)
        if recipe is not None:
            write_recipe(written, recipe)
        calibration = source.calibration.model_copy(update={"coverage": coverage})
        write_calibration(written, calibration, coverage.note, instead_of=None if before is None else before.note)
        move_pretrained(written, out)
