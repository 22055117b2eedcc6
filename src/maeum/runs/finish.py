"""The end of a training and of `maeum calibrate`: calibrate, score, write the card, save."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from maeum.errors import ModelError
from maeum.evaluation.calibration import fit_margins, fit_temperature
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import Report
from maeum.evaluation.thresholds import choose_thresholds
from maeum.files import TEMPORARY, write_error
from maeum.labels import LabelSet
from maeum.models.calibration import Calibration
from maeum.models.caution import Caution
from maeum.models.pretrained import Pretrained, load_pretrained, move_pretrained, save_pretrained, write_card
from maeum.models.stored_weights import Precision
from maeum.runs.provenance import write_recipe
from maeum.runs.scores import card_notes, card_scores
from maeum.runs.trained_on import TrainedOn
from maeum.types import Modality

#: What a finished model is scored by: reports, each with the name of its data on the card.
Score = Callable[[Pretrained], Sequence[tuple[str, Report]]]


def finish_model(
    folder: Path,
    model: Pretrained,
    predictions: Mapping[str, PredictionSet],
    score: Score,
    *,
    known: TrainedOn | None,
    recipe: Mapping[str, Any] | None = None,
    precision: Precision = "float32",
    least_confidence: float = 0.0,
    caution: Mapping[Modality, Caution] | None = None,
) -> list[Report]:
    """Calibrate a model on dev predictions, write its folder, score it, and put the scores on its card.

    The folder is a model folder only when all of that is done.

    Args:
        folder: of the model; files in it are replaced.
        model: the trained model with its card, not calibrated.
        predictions: of dev items, not calibrated, by the modalities that were present, such as ``faces+speech``.
        score: reports about the calibrated model, as it will be in the folder.
        known: what it was trained on, which is kept with it.
        recipe: by which it was trained, to be kept in the model's folder; None where its run's folder has it.
        precision: of the stored weights.
        least_confidence: below it a single-label model is not sure.
        caution: of branches of a single-label model. Temperatures are fitted without it, so it only makes answers less
            sure.

    Raises:
        ModelError: when the folder cannot be written.
    """
    device = next(model.model.parameters()).device
    fitted = fit_calibration(predictions, model.label_set)
    if model.label_set.task == "single-label":
        fitted = fitted.model_copy(update={"least_confidence": least_confidence, "caution": dict(caution or {})})
    model = replace(model, calibration=fitted)
    with folder_to_fill(folder) as written:
        if known is not None:
            known.write(written)
        save_pretrained(
            written,
            kind=model.kind,
            model=model.model,
            label_set=model.label_set,
            card=model.card,
            tokenizer=model.tokenizer,
            settings=model.settings,
            calibration=model.calibration,
            precision=precision,
        )
        if recipe is not None:
            write_recipe(written, recipe)
        stored = replace(load_pretrained(written, device), name=str(folder)) if precision != "float32" else model
        reports = score(replace(stored, folder=written))
        scores = [one for data, report in reports for one in card_scores(report, data)]
        notes = dict.fromkeys(note for data, report in reports for note in card_notes(report, data))
        write_card(written, model.card.model_copy(update={"scores": tuple(scores), "notes": tuple(notes)}))
        move_pretrained(written, folder)
    return [report for _, report in reports]


@contextmanager
def folder_to_fill(folder: Path) -> Iterator[Path]:
    """A hidden folder in a model's folder, gone at the end; what is stopped before leaves no half-finished model."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{TEMPORARY}*"):  # of a command that was killed
            if leftover.is_dir():
                shutil.rmtree(leftover)
        temporary = TemporaryDirectory(prefix=TEMPORARY, dir=folder)
    except OSError as error:
        raise write_error(folder, error, ModelError) from error
    with temporary as written:
        yield Path(written)


def fit_calibration(predictions: Mapping[str, PredictionSet], label_set: LabelSet) -> Calibration:
    """The calibration that fits dev predictions of a model that was not calibrated before.

    Args:
        predictions: by the modalities that were present, such as ``faces+speech``.
        label_set: for single-label ones each gets a temperature, for scales each gets margins; multi-label ones get
            their thresholds from all together, as there is one per label.
    """
    sets = predictions.items()
    if label_set.task == "single-label":
        return Calibration(temperatures={name: fit_temperature(s.logits, s.target) for name, s in sets})
    if label_set.task == "multi-label":
        probs = label_set.activate(torch.cat([s.logits for _, s in sets]).double())
        return Calibration(thresholds=choose_thresholds(probs, torch.cat([s.target for _, s in sets])).values)
    values = {name: label_set.activate(s.logits.double()) for name, s in sets}
    return Calibration(margins={name: fit_margins(values[name], s.target) for name, s in sets})
