"""Train a model from a recipe, resumably; the outcome is a folder that `maeum.load` reads."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from maeum.corpora.splits import OfficialSplit, Split
from maeum.corpora.targets import Target
from maeum.data.collate import Collator
from maeum.data.dataset import ClipDataset, JointDataset, StoreDataset
from maeum.data.feed import Feed
from maeum.data.sampler import BucketSampler
from maeum.data.store import Store
from maeum.errors import ConfigError, EvaluationError, StoreError
from maeum.evaluation.base import METRICS, metrics_of
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.report import Report, evaluate
from maeum.evaluation.thresholds import choose_thresholds
from maeum.inputs.settings import InputSettings
from maeum.labels import LabelSet
from maeum.models.card import ModelCard
from maeum.models.encoders.character_vocabulary import CharacterVocabulary
from maeum.models.encoders.tokenizer import HubTokenizer, Tokenizer, load_tokenizer, train_tokenizer
from maeum.models.network import ComparesEncodings, HasBranches, Network, TranscribesSpeech, transcriber
from maeum.models.networks import MODELS
from maeum.models.pretrained import (
    Calibration,
    load_pretrained,
    on_device,
    save_pretrained,
    subset_name,
)
from maeum.preparation.transcripts import Transcripts
from maeum.progress import progress_bar
from maeum.runs.calibrate import fit
from maeum.runs.checks import check_inputs, check_modalities, check_settings, check_tasks, check_text
from maeum.runs.feature_cache import check_frozen, keep_frozen
from maeum.runs.licences import Licences, licences_of
from maeum.runs.predict import collator, predict_items
from maeum.runs.recipe import DataConfig, HubTokenizerConfig, Recipe, SmallTokenizerConfig
from maeum.runs.run_folder import reserve_run_folder
from maeum.runs.scores import card_notes, card_scores
from maeum.runs.tensorboard import tensorboard
from maeum.runs.trained_on import TrainedOn, allowed, trained_on
from maeum.training.loop import Trainer
from maeum.training.losses.emotion import class_weights
from maeum.training.processes import launched
from maeum.types import Sound
from maeum.wording import counted


@dataclass(frozen=True)
class TrainReport:
    """What a training made: a model folder, and its scores on dev (calibrated on the same dev items)."""

    model: Path
    report: Report
    epochs: int
    best_epoch: int


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
        StoreError: when a store or a checkpoint cannot be used, or ``out`` holds another recipe's run.
        CorpusError: when the split cannot be made, or its parts share something and the recipe does not allow that.
    """
    out = Path(out)
    processes, device = launched(device)
    console = console if console is not None and processes.rank == 0 else Console(quiet=True)
    splits = make_splits(recipe)
    views = recipe.training.augmented_contrastive > 0
    sound = recipe.inputs.sound
    train_set = load_parts(recipe.train, "train", recipe.target, splits, sound, views=views)
    dev_set = load_parts(recipe.dev, "dev", recipe.target, splits, sound)
    label_set = train_set.label_set
    check_settings(recipe, label_set)
    known = _known(recipe, splits, train_set, dev_set)
    model = on_device(build(recipe, label_set, train_set.spoken_texts()), device)
    teacher = _teacher(recipe, model, label_set, device)
    check_modalities(recipe, model, train_set.present())
    check_tasks(recipe, model, label_set)
    check_frozen(recipe, model)
    for part, data, stores in (("train", train_set, recipe.train), ("dev", dev_set, recipe.dev)):
        for note in (*data.left_out_notes(), *_decoding(stores, recipe.inputs, model)):
            console.print(f"{part}: {note}")
    for store, split in splits.items():
        for note in split.notes:
            console.print(f"{store}: {note}")
    if known.overlap:
        console.print(allowed(known.overlap), style="bold yellow")
    with processes.first_one():
        reserve_run_folder(out, recipe)
        tokenizer = _tokenizer(recipe, train_set, out)
    check_text(recipe, model, tokenizer)
    collate = collator(tokenizer, recipe.inputs, _spell(recipe, model))
    with processes.first_one(), progress_bar(console) as bar:
        keep_frozen(recipe, model, (train_set, dev_set), collate, bar)
    feed = _feed(recipe, train_set, collate)
    console.print(
        f"{recipe.name}: {len(train_set)} training and {len(dev_set)} dev items, "
        f"{sum(p.numel() for p in model.parameters()):,} parameters, "
        f"{counted(recipe.training.epochs, 'epoch')} of {counted(len(feed), 'batch')}"
    )
    draw = tensorboard(out / "tensorboard") if recipe.tensorboard and processes.rank == 0 else None

    def judge(candidate: Network) -> Mapping[str, float]:
        return dev_scores(predict_items(candidate, dev_set, collate, device=device), label_set, recipe.score)

    def report_line(line: Mapping[str, Any]) -> None:
        console.print(_words(line))
        if draw is not None:
            draw(line)

    with progress_bar(console) as bar:
        task = bar.add_task("epoch 1", total=len(feed))
        trainer = Trainer(
            model,
            recipe.training,
            batches=feed.batches,
            batches_per_epoch=len(feed),
            evaluate=judge,
            folder=out,
            class_weight=_class_weight(recipe, train_set),
            ranges=None if label_set.ranges is None else torch.tensor(label_set.ranges),
            teacher=teacher,
            device=device,
            processes=processes,
            report=report_line,
            remark=allowed(known.overlap),
            on_step=lambda progress, total: bar.update(
                task, description=f"epoch {progress.epoch + 1}", completed=progress.batch
            ),
        )
        progress = trainer.fit()
    made = None
    if processes.rank == 0:
        model.load_state_dict(_best(out, device))
        made = finish(recipe, model, tokenizer, dev_set, out, device, known)
    report: Report = processes.gather(made)[0]
    return TrainReport(out / "model", report, progress.epoch, progress.best_epoch)


def _feed(recipe: Recipe, train_set: ClipDataset, collate: Collator) -> Feed:
    config, targets = recipe.training, train_set.targets()
    cost = [n.cost for n in train_set.lengths]
    single = train_set.label_set.task == "single-label"
    classes = [int(t) for t in targets if t is not None] if single else None
    # Concordance is of a batch as a whole: items of one length would be those of one kind of utterance.
    pool = 1 if config.loss == "ccc" else 32
    sampler = BucketSampler(
        cost,
        config.batch_size,
        config.seed,
        classes,
        recipe.balance,
        drop_last=len(cost) > config.batch_size,
        pool=pool,
    )
    return Feed(train_set, sampler, collate, recipe.augment, config.seed)


def _class_weight(recipe: Recipe, train_set: ClipDataset) -> Tensor | None:
    label_set = train_set.label_set
    if not recipe.training.class_weights or label_set.task == "dimensional":
        return None
    targets = torch.stack([t for t in train_set.targets() if t is not None])
    return class_weights(targets, len(label_set), recipe.training.loss)


def _best(out: Path, device: str) -> dict[str, Tensor]:
    path = out / "best.pt"
    try:
        state: dict[str, Tensor] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise StoreError(
            f"the best weights cannot be read ({error})", item=path, remedy="Train again in another folder."
        ) from error
    return state


def finish(
    recipe: Recipe,
    model: Network,
    tokenizer: Tokenizer | None,
    dev_set: ClipDataset,
    out: Path,
    device: str,
    known: TrainedOn,
) -> Report:
    """Calibrate on dev, score, and write the model folder."""
    label_set = dev_set.label_set
    said = predict_items(model, dev_set, collator(tokenizer, recipe.inputs), device=device)
    there = tuple(m for m in dev_set.present() if m in model.modalities)
    calibration = fit({subset_name(there): said}, label_set)
    said = replace(said, logits=said.logits / calibration.temperature(there))
    report = evaluate(
        said,
        label_set,
        name=recipe.name,
        absent="exclude",
        thresholds=calibration.thresholds,
        margins=calibration.margins.get(subset_name(there)),
    )
    flattered = () if calibration == Calibration() else ("the model was calibrated on these same items",)
    report = replace(
        report, overlap=allowed(known.overlap), notes=(*report.notes, *flattered, *dev_set.left_out_notes())
    )
    report.save(out / "dev.json")
    terms = _licences(recipe)
    card = ModelCard(
        name=recipe.name,
        title=f"{recipe.name} ({recipe.model})",
        licence=terms.licence,
        non_commercial=terms.non_commercial,
        parameters=sum(p.numel() for p in model.parameters()),
        data=terms.data,
        modalities=model.modalities,
        labels=label_set.names,
        scores=card_scores(report, "dev"),
        notes=card_notes(report, "dev"),
        intended_use=recipe.intended_use,
        limits=recipe.limits,
    )
    known.write(out / "model")
    save_pretrained(
        out / "model",
        kind=recipe.model,
        model=model,
        label_set=label_set,
        card=card,
        tokenizer=tokenizer,
        settings=recipe.inputs,
        calibration=calibration,
    )
    return report


def build(recipe: Recipe, label_set: LabelSet, spoken_texts: Iterable[str | None] = ()) -> Network:
    """The recipe's network, with the branches of ``start_from`` in place.

    Args:
        recipe: the training's.
        label_set: what the network answers.
        spoken_texts: transcripts of the training utterances, from which a CTC head takes its characters.

    Raises:
        ConfigError: when settings are unknown or do not fit, or a branch does not.
    """
    kind = MODELS[recipe.model]
    settings: dict[str, Any] = {**recipe.network, "labels": len(label_set)}
    if recipe.training.ctc and issubclass(kind.network, TranscribesSpeech):
        settings = kind.network.settings_for_texts(settings, (text for text in spoken_texts if text))
    sources = {m: load_pretrained(folder) for m, folder in recipe.start_from.items()}
    for modality, source in sources.items():
        if not isinstance(source.model, HasBranches):
            raise ConfigError(f"its network {source.kind} has no branches to start from", item=source.name)
        theirs = source.model.branch_settings(modality)
        settings[modality] = {**theirs, **(recipe.network.get(modality) or {})}
    torch.manual_seed(recipe.training.seed)
    with errors_of(f"{recipe.name}, network"):
        network = kind.build(settings)
    for modality, source in sources.items():
        if not isinstance(network, HasBranches):
            raise ConfigError(f"start_from is of networks with branches, which {recipe.model} is not", item=recipe.name)
        with errors_of(source.name):
            network.take_over_branch(source.model, modality, source.calibration.temperature((modality,)))
    return network


@contextmanager
def errors_of(item: str) -> Iterator[None]:
    """Name the item in a ConfigError that names none."""
    try:
        yield
    except ConfigError as error:
        if error.item is not None:
            raise
        raise ConfigError(error.problem, item=item, remedy=error.remedy) from error


def _teacher(recipe: Recipe, model: Network, label_set: LabelSet, device: str) -> Network | None:
    """The network that teaches ``model``; raises ConfigError when there is none, or it answers other questions."""
    training = recipe.training
    if (recipe.teacher is None) != (training.distill == 0 and training.distill_encoded == 0):
        raise ConfigError(
            "needs both a teacher and training.distill or training.distill_encoded above 0, or neither",
            item=recipe.name,
            remedy="Name a teacher, or set these to 0." if recipe.teacher is None else "Give one of them a weight.",
        )
    if recipe.teacher is None:
        return None
    if label_set.task == "dimensional":
        raise ConfigError("is taught by a model, which is not for scales", item=recipe.name)
    source = load_pretrained(recipe.teacher, device)
    if source.label_set.names != label_set.names:
        raise ConfigError(f"answers {', '.join(source.label_set.names)}, not {', '.join(label_set.names)}",
                          item=source.name)  # fmt: skip
    if training.distill_encoded:
        if not isinstance(model, ComparesEncodings):
            raise ConfigError(f"{recipe.model} shows no encodings of frames and mel chunks to compare",
                              item=recipe.name, remedy="Set training.distill_encoded to 0.")  # fmt: skip
        with errors_of(source.name):
            model.check_teacher(source.model)
    return source.model


def _spell(recipe: Recipe, model: Network) -> Callable[[str], list[int]] | None:
    """What turns transcripts into the character ids of the network's CTC head, where that is trained."""
    recogniser = transcriber(model)
    if not recipe.training.ctc or recogniser is None:
        return None
    return CharacterVocabulary(recogniser.characters).encode


def make_splits(recipe: Recipe) -> dict[Path, Split]:
    """The recipe's split of each of its stores.

    Raises:
        ConfigError: when sessions are named beside a split.
    """
    data = (*recipe.train, *recipe.dev)
    if recipe.split != OfficialSplit() and any(d.sessions is not None for d in data):
        raise ConfigError("names sessions beside a split", item=recipe.name, remedy="Leave one of them out.")
    return {d.store: recipe.split.split(Store(d.store).members()) for d in data}


def _known(recipe: Recipe, splits: Mapping[Path, Split], train_set: ClipDataset, dev_set: ClipDataset) -> TrainedOn:
    """What the model will have seen, branches that it takes over included; raises CorpusError when parts overlap."""
    folders = (load_pretrained(folder).folder for folder in recipe.learns_from())
    sources = [known for folder in folders if (known := TrainedOn.read(folder)) is not None]
    by_session = {d.store for d in (*recipe.train, *recipe.dev) if d.sessions is not None}
    split_stores = {path: Store(path) for path in splits if path not in by_session}
    return trained_on(
        recipe.split,
        [(store, splits[path]) for path, store in split_stores.items()],
        train_set,
        dev_set,
        target=recipe.target,
        tested={str(split_stores[d.store].manifest["name"]) for d in recipe.dev if d.store in split_stores},
        sources=sources,
        allow_overlap=recipe.allow_overlap,
    )


def load_parts(
    data: tuple[DataConfig, ...],
    part: str,
    target: str | Target | None = None,
    splits: Mapping[Path, Split] | None = None,
    sound: Sound = "mel_chunks",
    *,
    views: bool = False,
) -> ClipDataset:
    """The labelled items of one part, or of some sessions, of several stores."""
    if not data:
        raise ConfigError(f"the recipe names no data for {part}")
    sets: list[ClipDataset] = [
        StoreDataset(
            d.store,
            part if d.sessions is None else None,
            None,
            d.modalities,
            labelled=True,
            target=target,
            split=None if splits is None else splits[d.store],
            sessions=d.sessions,
            sound=sound,
            views=d.views if views else None,
            transcripts=None if d.transcripts is None else Transcripts.read(d.transcripts).texts,
        )
        for d in data
    ]
    return sets[0] if len(sets) == 1 else JointDataset(sets)


def _decoding(data: tuple[DataConfig, ...], inputs: InputSettings, model: Network) -> list[str]:
    reads = model.modalities
    used = [(Store(d.store), [m for m in d.modalities or reads if m in reads]) for d in data]
    return [note for store, modalities in used for note in check_inputs(store, inputs, modalities)]


def _licences(recipe: Recipe) -> Licences:
    branches = [recipe.network.get(name) for name in ("speech", "text")]
    encoders = [b["pretrained"] for b in branches if isinstance(b, dict) and b.get("pretrained") is not None]
    sources = [load_pretrained(folder).card for folder in recipe.learns_from()]
    return licences_of([d.store for d in recipe.train], sources, encoders)


def _tokenizer(recipe: Recipe, train_set: ClipDataset, out: Path) -> Tokenizer | None:
    if (out / "tokenizer").is_dir():
        return load_tokenizer(out / "tokenizer")
    folders = (folder for folder in (recipe.teacher, recipe.start_from.get("text")) if folder is not None)
    if given := [t for folder in folders if (t := load_pretrained(folder).tokenizer) is not None]:
        some = [text for text in train_set.texts() if text][:200]
        if len(given) > 1 and given[0](some) != given[1](some):
            raise ConfigError(
                "the teacher reads other tokens than the text branch that is taken over", item=recipe.name
            )
        return given[0]
    if recipe.tokenizer is None:
        return None
    if isinstance(recipe.tokenizer, HubTokenizerConfig):
        tokenizer: Tokenizer = HubTokenizer(recipe.tokenizer.pretrained)
    else:
        assert isinstance(recipe.tokenizer, SmallTokenizerConfig)
        texts = [text for text in train_set.texts() if text]
        tokenizer = train_tokenizer(texts, recipe.tokenizer.vocabulary)
    unfinished = out / "tokenizer.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    tokenizer.save(unfinished)
    unfinished.replace(out / "tokenizer")
    return tokenizer


def dev_scores(said: PredictionSet, label_set: LabelSet, metric: str) -> dict[str, float]:
    """What an epoch is judged by: ``score``, of which more is better, and every metric that is defined on dev.

    Several labels an item are decided as the finished model will decide them, at the thresholds that are best on these
    items: at 0.5 that epoch would win whose probabilities happen to lie well, not the one that tells labels apart best.

    Args:
        said: of the dev items.
        label_set: what they mean.
        metric: gives ``score``.

    Raises:
        EvaluationError: when that metric is undefined.
    """
    outputs, target = label_set.activate(said.logits.double()).numpy(), said.target.numpy()
    decided = choose_thresholds(outputs, target).apply(outputs) if label_set.task == "multi-label" else outputs

    def value(name: str) -> float:
        return METRICS[name].function(METRICS[name].given(outputs, decided), target, "exclude")

    score = value(metric)
    scores = {"score": score if METRICS[metric].higher_is_better else -score}
    for name in metrics_of(label_set):
        with suppress(EvaluationError):
            scores[name] = value(name)
    return scores


def _words(line: Mapping[str, Any]) -> str:
    shown = ("loss", "score", "accuracy", "uar", "macro_f1", "mean_f1", "mean_ccc", "mean_mae")
    numbers = "  ".join(f"{k} {line[k]:.3f}" for k in shown if k in line)
    return f"epoch {line['epoch'] + 1}: {numbers}" + ("  (best)" if line["best_epoch"] == line["epoch"] else "")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
