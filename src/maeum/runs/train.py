"""Train a model from a recipe, resumably; the outcome is a folder that `maeum.load` reads."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from maeum.data.collate import Collator
from maeum.data.store import Store
from maeum.evaluation.report import Report, evaluate
from maeum.models.calibration import Calibration, subset_name
from maeum.models.card import ModelCard
from maeum.models.encoders.character_vocabulary import CharacterVocabulary
from maeum.models.encoders.tokenizer import Tokenizer
from maeum.models.network import Network, transcriber
from maeum.models.pretrained import Pretrained, load_pretrained
from maeum.progress import progress_bar
from maeum.runs.checks import check_inputs, check_text, unused_augmentation
from maeum.runs.feature_cache import cache_frozen_features
from maeum.runs.finish import finish_model
from maeum.runs.licences import licences_of
from maeum.runs.predict import collator, predict_items
from maeum.runs.recipe import Recipe
from maeum.runs.run_folder import hold_run_folder, reserve_run_folder
from maeum.runs.steps.data import TrainingData, load_training_data
from maeum.runs.steps.fit import Run, fit
from maeum.runs.steps.network import build_network
from maeum.runs.steps.tokenizer import make_tokenizer
from maeum.runs.trained_on import format_allowed
from maeum.training.processes import launched


@dataclass(frozen=True)
class TrainReport:
    """The outcome of a training: a model folder, and its scores on dev (calibrated on the same dev items)."""

    model: Path
    report: Report
    epochs: int
    best_epoch: int
    first_process: bool = True
    """Whether this is the process that reports, of several that train together."""


def train(recipe: Recipe, out: Path | str, *, device: str = "cpu", console: Console | None = None) -> TrainReport:
    """Train, or go on where an interrupted run stood.

    Args:
        recipe: all settings.
        out: folder of the run: ``recipe.json``, ``log.jsonl``, ``last.pt``, ``best.pt``, ``model/``, ``dev.json``.
        device: where to train.
        console: where progress is drawn; None draws none.

    Raises:
        ConfigError: on settings that do not fit together.
        ModelError: when the device cannot be used, or the loss is not finite.
        StoreError: when a store or a checkpoint cannot be used, ``out`` holds another recipe's run, or another process
            trains in it.
        CorpusError: when the split cannot be made, or its parts share something and the recipe does not allow that.
    """
    processes, device = launched(device)
    first = processes.rank == 0
    run = Run(recipe, Path(out), device, processes, console if console is not None and first else Console(quiet=True))
    data = load_training_data(recipe)
    network, objective = build_network(recipe, data, device)
    _print_notes(run, data, network)
    with hold_run_folder(run.folder) if first else nullcontext():
        with processes.first_one():
            reserve_run_folder(run.folder, recipe)
            tokenizer = make_tokenizer(recipe, data.train, run.folder)
        check_text(recipe, network, tokenizer)
        collate = _collator(recipe, network, tokenizer)
        with processes.first_one(), progress_bar(run.console) as bar:
            cache_frozen_features(recipe, network, (data.train, data.dev), collate, bar)
        progress = fit(run, data, network, objective, collate)
        finished = finish(recipe, network, tokenizer, data, collate, run.folder, device) if first else None
    report: Report = processes.gather(finished)[0]
    return TrainReport(run.folder / "model", report, progress.epoch, progress.best_epoch, first)


def _print_notes(run: Run, data: TrainingData, network: Network) -> None:
    """Print what to know about the data before the training begins."""
    for note in (*data.notes(), *unused_augmentation(run.recipe, network), *_decoding_notes(run.recipe, network)):
        run.console.print(note, markup=False, soft_wrap=True)
    if data.known.overlap:
        run.console.print(format_allowed(data.known.overlap), style="bold yellow")


def _decoding_notes(recipe: Recipe, network: Network) -> list[str]:
    notes = []
    for part, data in (("train", recipe.train), ("dev", recipe.dev)):
        for one in data:
            used = [m for m in one.modalities or network.modalities if m in network.modalities]
            notes += [f"{part}: {note}" for note in check_inputs(Store(one.store), recipe.inputs, used)]
    return notes


def _collator(recipe: Recipe, network: Network, tokenizer: Tokenizer | None) -> Collator:
    """The collator of training batches, with transcripts as characters where a CTC head is trained."""
    recogniser = transcriber(network) if recipe.training.needs_transcripts else None
    encode_transcript = None if recogniser is None else CharacterVocabulary(recogniser.characters).encode
    return collator(tokenizer, recipe.inputs, encode_transcript)


def finish(
    recipe: Recipe,
    network: Network,
    tokenizer: Tokenizer | None,
    data: TrainingData,
    collate: Collator,
    out: Path,
    device: str,
) -> Report:
    """Calibrate on dev, score, and write the model folder and ``dev.json``; see `finish_model`."""
    dev_set, known = data.dev, data.known
    label_set = dev_set.label_set
    predictions = predict_items(network, dev_set, collate, device=device)
    present = tuple(m for m in dev_set.present() if m in network.modalities)

    def score(model: Pretrained) -> list[tuple[str, Report]]:
        calibration = model.calibration
        report = evaluate(
            replace(predictions, logits=predictions.logits / calibration.temperature(present)),
            label_set,
            name=recipe.name,
            absent="exclude",
            thresholds=calibration.thresholds,
            margins=calibration.margins.get(subset_name(present)),
        )
        flattered = () if calibration == Calibration() else ("the model was calibrated on these same items",)
        notes = (*report.notes, *flattered, *dev_set.left_out_notes())
        return [("dev", replace(report, overlap=format_allowed(known.overlap), notes=notes))]

    model = Pretrained(
        name=recipe.name,
        kind=recipe.model,
        model=network,
        label_set=label_set,
        tokenizer=tokenizer,
        settings=recipe.inputs,
        calibration=Calibration(),
        card=_card(recipe, network, label_set.names),
    )
    (report,) = finish_model(out / "model", model, {subset_name(present): predictions}, score, known=known)
    report.save(out / "dev.json")
    return report


def _card(recipe: Recipe, network: Network, labels: tuple[str, ...]) -> ModelCard:
    branches = [recipe.network.get(name) for name in ("speech", "text")]
    encoders = [b["pretrained"] for b in branches if isinstance(b, dict) and b.get("pretrained") is not None]
    sources = [load_pretrained(folder).card for folder in recipe.learns_from()]
    licences = licences_of([d.store for d in recipe.train], sources, encoders)
    return ModelCard(
        name=recipe.name,
        title=f"{recipe.name} ({recipe.model})",
        licence=licences.licence,
        non_commercial=licences.non_commercial,
        parameters=sum(p.numel() for p in network.parameters()),
        data=licences.data,
        modalities=network.modalities,
        labels=labels,
        intended_use=recipe.intended_use,
        limits=recipe.limits,
    )
