"""Fit a trained model's temperatures on dev items of several corpora, one for each set of modalities, and finish
its card.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from maeum.config import Config
from maeum.data.dataset import StoreDataset
from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.evaluation.calibration import fit_temperature
from maeum.experiments.evaluate import evaluate
from maeum.experiments.predict import collator, predict_items
from maeum.experiments.scores import card_scores
from maeum.experiments.terms import terms_of
from maeum.models.card import ModelCard, Score
from maeum.models.pretrained import (
    Calibration,
    Pretrained,
    load_pretrained,
    save_pretrained,
    subset_name,
)
from maeum.types import MODALITIES, Modality


class DevConfig(Config):
    """Dev items for some sets of modalities.

    store, part: where they are. subsets: the sets they stand for, such as ``["speech"]``; every set of the store's
    when None. metrics: which scores the card lists.
    """

    store: Path
    part: str = "dev"
    subsets: tuple[tuple[Modality, ...], ...] | None = None
    metrics: tuple[str, ...] = ("accuracy", "uar", "macro_f1", "ece")


class CalibrateConfig(Config):
    """How a model is finished.

    model: the trained folder; the data and limits on its card go on to apply. dev: what each temperature is fitted on;
    a set that is named twice is fitted on its first. trained_on: stores whose licences the weights carry. half: store
    weights as float16.
    """

    name: str
    title: str
    model: Path
    dev: tuple[DevConfig, ...]
    trained_on: tuple[Path, ...]
    half: bool = True
    intended_use: str
    limits: str


def calibrate(config: CalibrateConfig, out: Path | str) -> Pretrained:
    """Write the finished model folder and give it.

    Raises:
        ConfigError: when the model is not single-label.
        StoreError, ModelError: when something cannot be read or written.
    """
    out = Path(out)
    source = load_pretrained(config.model)
    if source.label_set.task != "single-label":
        raise ConfigError("temperatures are fitted for single-label models only", item=source.name)
    temperatures: dict[str, float] = {}
    for dev in config.dev:
        for subset in _subsets(dev, source):
            if subset_name(subset) not in temperatures:
                temperatures[subset_name(subset)] = _fit(source, dev, subset)
    _write(config, source, temperatures, (), out)
    finished = load_pretrained(out)
    scores = tuple(score for dev in config.dev for score in _scores(finished, dev))
    _write(config, source, temperatures, scores, out)
    return load_pretrained(out)


def _subsets(dev: DevConfig, source: Pretrained) -> list[tuple[Modality, ...]]:
    if dev.subsets is not None:
        return [tuple(m for m in MODALITIES if m in subset) for subset in dev.subsets]
    there = [m for m in MODALITIES if m in Store(dev.store).manifest["modalities"] and m in source.card.modalities]
    return [s for size in range(1, len(there) + 1) for s in combinations(there, size)]


def _fit(source: Pretrained, dev: DevConfig, subset: tuple[Modality, ...]) -> float:
    dataset = StoreDataset(dev.store, dev.part, source.label_set, subset, labelled=True)
    said = predict_items(source.model, dataset, collator(source.tokenizer, source.settings))
    return fit_temperature(said.logits, said.target)


def _scores(finished: Pretrained, dev: DevConfig) -> list[Score]:
    out: list[Score] = []
    for subset in _subsets(dev, finished):
        done = evaluate(finished, dev.store, dev.part, subset, metrics=dev.metrics)
        out += card_scores(done.report, f"{done.corpus} {done.part}, {subset_name(subset)}")
    return out


def _write(
    config: CalibrateConfig, source: Pretrained, temperatures: dict[str, float], scores: tuple[Score, ...], out: Path
) -> None:
    terms = terms_of(config.trained_on)
    non_commercial = terms.non_commercial or source.card.non_commercial
    use = "non-commercial and research use only" if non_commercial else "as its data"
    card = ModelCard(
        name=config.name,
        title=config.title,
        licence=f"{use} (data: {terms.licence})",
        non_commercial=non_commercial,
        parameters=sum(p.numel() for p in source.model.parameters()),
        data=tuple(dict.fromkeys((*terms.data, *source.card.data))),
        modalities=source.card.modalities,
        labels=source.label_set.names,
        scores=scores,
        intended_use=config.intended_use,
        limits=config.limits,
    )
    save_pretrained(
        out,
        kind=source.kind,
        model=source.model,
        label_set=source.label_set,
        card=card,
        tokenizer=source.tokenizer,
        settings=source.settings,
        calibration=Calibration(temperatures=temperatures),
        half=config.half,
    )
