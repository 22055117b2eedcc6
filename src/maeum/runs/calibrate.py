"""Finish a trained model: fit its temperatures, thresholds or margins on dev items, and write its card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, field_validator

from maeum.config import Config
from maeum.corpora.overlaps import Member
from maeum.corpora.targets import Target
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import Report
from maeum.files import Made, read_mapping
from maeum.models.calibration import Calibration, subset_name
from maeum.models.card import BranchLicence, ModelCard
from maeum.models.network import BranchesStandAlone
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.models.stored_weights import Precision
from maeum.preparation.model_items import items_for, subsets_of
from maeum.runs.caution import CautionConfig, caution_of
from maeum.runs.checks import check_inputs
from maeum.runs.evaluate import evaluate
from maeum.runs.finish import finish_model
from maeum.runs.licences import licences_of
from maeum.runs.predict import collator, predict_items
from maeum.runs.provenance import recipe_of
from maeum.runs.trained_on import TrainedOn
from maeum.types import MODALITIES, Modality

#: What the card of a single-label model lists.
_LISTED = ("accuracy", "uar", "macro_f1", "ece")


class DevConfig(Config):
    """Dev items for some sets of modalities."""

    store: Path
    """The prepared corpus."""
    part: str = "dev"
    """Of the store; the one of the model's own split where it knows the corpus."""
    subsets: tuple[Annotated[tuple[Modality, ...], Field(min_length=1)], ...] | None = Field(default=None, min_length=1)
    """Sets of modalities that these items stand for, such as ``[[speech]]``; all of store and model if not given."""
    metrics: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Scores that the card lists; if not given accuracy, UAR, macro F1 and ECE, for other tasks all."""
    target: str | Target | None = None
    """Which labels or scales of the store are meant; its labels as they are if not given."""
    sessions: tuple[str, ...] | None = Field(default=None, min_length=1)
    """These sessions instead of the part."""


class CalibrateConfig(Config):
    """How a trained model is finished."""

    name: str
    """Of the finished model."""
    title: str
    """Of its card."""
    model: Path
    """Folder of the trained model; the data and limits on its card go on to apply."""
    dev: tuple[DevConfig, ...] = Field(min_length=1)
    """Items that temperatures, thresholds and margins are fitted on; of a set that is named twice the first counts."""
    trained_on: tuple[Path, ...] = Field(min_length=1)
    """Stores whose licences the weights carry."""
    branches: dict[Modality, Path] = Field(default_factory=dict)
    """Of a network whose branches can be loaded alone: the model folder that each comes from, unchanged, whose licence
    then binds for it."""
    caution: dict[Modality, CautionConfig] = Field(default_factory=dict)
    """Of a single-label network of branches: those that are to be less sure about what is unlike their training
    data."""
    least_confidence: float = Field(default=0.5, ge=0, le=1)
    """Of a single-label model: below this confidence it says that it is not sure, and which two labels are likeliest.
    Its probabilities are calibrated, so from 0.5 on it answers where it is more probably right than wrong."""
    weights: Precision = "float16"
    """How weights are stored: float16 halves their size, int8 makes large matrices a quarter. They are computed in
    float32 all the same, and the scores of the card are those of the stored ones."""

    @field_validator("weights", mode="before")
    @classmethod
    def _half_or_not(cls, value: Any) -> Any:
        """What was called ``half`` before, and true or false."""
        return {True: "float16", False: "float32"}[value] if isinstance(value, bool) else value

    intended_use: str
    """What the model is for, on its card."""
    limits: str
    """What it cannot do and must not be used for, on its card."""


def calibrate(config: CalibrateConfig, out: Path | str) -> Pretrained:
    """Write the finished model folder and give it.

    What the model was trained on and its recipe go along, so that its scores' passports name seeds and settings.

    Raises:
        StoreError, ModelError: when something cannot be read or written.
    """
    out = Path(out)
    source = load_pretrained(config.model)
    card = _card(config, source)
    predictions: dict[str, PredictionSet] = {}
    fitted_on: list[Member] = []
    for dev in config.dev:
        for subset in _subsets(dev, source):
            if subset_name(subset) not in predictions:
                items = _items(source, dev, subset)
                fitted_on += items.members()
                predictions[subset_name(subset)] = predict_items(
                    source.model, items, collator(source.tokenizer, source.settings)
                )
    known = TrainedOn.read(source.folder)
    finish_model(
        out,
        replace(source, card=card, calibration=Calibration()),
        predictions,
        lambda finished: [scored for dev in config.dev for scored in _reports(finished, dev)],
        known=None if known is None else known.after_calibration(fitted_on),
        recipe=recipe_of(source.folder),
        precision=config.weights,
        least_confidence=config.least_confidence,
        caution={modality: caution_of(source, modality, one) for modality, one in config.caution.items()},
    )
    return load_pretrained(out)


def made_by(config: CalibrateConfig) -> Made:
    """Recognises a folder in which a model was finished before under the same name."""

    def recognise(folder: Path) -> bool:
        source = config.model.resolve() == folder.resolve()
        of_a_run = (folder.resolve().parent / "log.jsonl").exists()
        named_so = read_mapping(folder / "card.json").get("name") == config.name
        return named_so and not source and not of_a_run

    return Made(f"{config.name!r} as maeum calibrate finished it before", recognise, ("README.md",))


def _subsets(dev: DevConfig, source: Pretrained) -> list[tuple[Modality, ...]]:
    if dev.subsets is not None:
        return [tuple(m for m in MODALITIES if m in subset) for subset in dev.subsets]
    return subsets_of(source, Store(dev.store))


def _items(source: Pretrained, dev: DevConfig, subset: tuple[Modality, ...]) -> StoreDataset:
    """Dev items for one set of modalities, as the model reads them."""
    store, known = Store(dev.store), TrainedOn.read(source.folder)
    dataset = items_for(
        source,
        store,
        dev.part,
        subset,
        labelled=True,
        target=dev.target,
        split=None if known is None else known.split(store),
        sessions=dev.sessions,
    )
    if known is not None:
        known.shared(dataset.members(), dev.part)
    check_inputs(dataset.store, source.settings, subset)
    return dataset


def _reports(finished: Pretrained, dev: DevConfig) -> Iterator[tuple[str, Report]]:
    """The report of each set of modalities, and what it is of."""
    metrics = dev.metrics or (_LISTED if finished.label_set.task == "single-label" else None)
    for subset in _subsets(dev, finished):
        done = evaluate(
            finished, dev.store, dev.part, subset, metrics=metrics, target=dev.target, sessions=dev.sessions
        )
        yield f"{done.corpus} {done.part}, {subset_name(subset)}", done.report


def _card(config: CalibrateConfig, source: Pretrained) -> ModelCard:
    unlike = [store for caution in config.caution.values() for store in caution.unlike]
    licences = licences_of((*config.trained_on, *unlike))
    non_commercial = licences.non_commercial or source.card.non_commercial
    use = "non-commercial and research use only" if non_commercial else "as its data"
    return ModelCard(
        name=config.name,
        title=config.title,
        licence=f"{use} (data: {licences.licence})",
        non_commercial=non_commercial,
        parameters=sum(p.numel() for p in source.model.parameters()),
        data=tuple(dict.fromkeys((*licences.data, *source.card.data))),
        modalities=source.card.modalities,
        labels=source.label_set.names,
        intended_use=config.intended_use,
        limits=config.limits,
        branches={
            m: _branch_licence(source, m, folder, config.caution.get(m)) for m, folder in config.branches.items()
        },
    )


def _branch_licence(
    source: Pretrained, modality: Modality, folder: Path, caution: CautionConfig | None
) -> BranchLicence:
    """That of the model that a branch comes from, and of the other data that its caution was fitted on.

    Raises:
        ConfigError: where the branch has other weights than that model.
    """
    origin = load_pretrained(folder)
    if not isinstance(source.model, BranchesStandAlone) or not isinstance(origin.model, BranchesStandAlone):
        raise ConfigError("a network of this kind has no branches that can be loaded alone", item=source.name,
                          remedy="Leave branches out.")  # fmt: skip
    own, theirs = source.model.branch_weights(modality), origin.model.branch_weights(modality)
    if not own or own.keys() != theirs.keys() or not all(torch.equal(own[name], theirs[name]) for name in own):
        raise ConfigError(f"its {modality} branch has not the weights of {folder}, so another licence may bind",
                          item=source.name, remedy=f"Leave {modality} out of branches, or name the model that it was "
                          "taken over from and has not changed since.")  # fmt: skip
    card = origin.card
    if caution is None:
        return BranchLicence(licence=card.licence, non_commercial=card.non_commercial, data=card.data)
    more = licences_of(caution.unlike)
    return BranchLicence(
        licence=card.licence if more.licence in card.licence else f"{card.licence}; {more.licence}",
        non_commercial=card.non_commercial or more.non_commercial,
        data=tuple(dict.fromkeys((*card.data, *more.data))),
    )
