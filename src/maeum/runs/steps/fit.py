"""The loop of a training: batches, the score that chooses the best epoch, and what is drawn and logged."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from maeum.data.collate import Collator
from maeum.data.dataset import ClipDataset
from maeum.data.feed import Feed
from maeum.data.sampler import BucketSampler
from maeum.errors import EvaluationError, StoreError
from maeum.evaluation.base import METRICS, metrics_of
from maeum.evaluation.predictions import PredictionSet
from maeum.evaluation.thresholds import choose_thresholds
from maeum.labels import LabelSet
from maeum.models.network import Network
from maeum.models.stored_weights import unreadable_reason
from maeum.progress import progress_bar
from maeum.runs.predict import predict_items
from maeum.runs.recipe import Recipe
from maeum.runs.steps.data import TrainingData
from maeum.runs.steps.objective import score_of_chance
from maeum.runs.tensorboard import tensorboard
from maeum.runs.trained_on import format_allowed
from maeum.training.loop import Progress, Trainer
from maeum.training.losses import LOSSES
from maeum.training.objective import Objective, emotion_loss_name
from maeum.training.processes import Processes
from maeum.wording import counted

#: Batches among which the sampler forms those of like length.
_POOL = 32


@dataclass(frozen=True)
class Run:
    """Where and how one training runs."""

    recipe: Recipe
    folder: Path
    device: str
    processes: Processes
    console: Console


def fit(run: Run, data: TrainingData, network: Network, objective: Objective, collate: Collator) -> Progress:
    """Train the network, or go on where an interrupted run stood; it ends with the weights of the best epoch.

    Raises:
        ModelError: when the loss is not finite.
        StoreError: when a checkpoint cannot be read or written.
    """
    recipe, console = run.recipe, run.console
    feed = _feed(recipe, data.train, collate)
    console.print(
        f"{recipe.name}: {len(data.train)} training and {len(data.dev)} dev items, "
        f"{sum(p.numel() for p in network.parameters()):,} parameters, "
        f"{counted(recipe.training.epochs, 'epoch')} of {counted(len(feed), 'batch')}"
    )
    draw = tensorboard(run.folder / "tensorboard") if recipe.tensorboard and run.processes.rank == 0 else None

    def judge(candidate: Network) -> Mapping[str, float]:
        predictions = predict_items(candidate, data.dev, collate, device=run.device)
        return dev_scores(predictions, data.label_set, recipe.score)

    def report_line(line: Mapping[str, Any]) -> None:
        console.print(_format_epoch(line))
        if draw is not None:
            draw(line)

    with progress_bar(console) as bar:
        task = bar.add_task("epoch 1", total=len(feed))
        trainer = Trainer(
            network,
            recipe.training,
            objective,
            batches=feed.batches,
            batches_per_epoch=len(feed),
            evaluate=judge,
            folder=run.folder,
            device=run.device,
            processes=run.processes,
            report=report_line,
            notify=lambda note: console.print(note, style="yellow"),
            chance=score_of_chance(data.dev, data.label_set, recipe.score),
            remark=format_allowed(data.known.overlap),
            on_step=lambda progress, total: bar.update(
                task, description=f"epoch {progress.epoch + 1}", completed=progress.batch
            ),
        )
        progress = trainer.fit()
    if run.processes.rank == 0:
        network.load_state_dict(_best(run.folder, run.device))
    return progress


def _feed(recipe: Recipe, train_set: ClipDataset, collate: Collator) -> Feed:
    config, targets = recipe.training, train_set.targets()
    cost = [n.cost for n in train_set.lengths]
    single = train_set.label_set.task == "single-label"
    classes = [int(t) for t in targets if t is not None] if single else None
    losses = (LOSSES[emotion_loss_name(config, train_set.label_set)], *config.further_losses().values())
    sampler = BucketSampler(
        cost,
        config.batch_size,
        config.seed,
        classes,
        recipe.balance,
        drop_last=len(cost) > config.batch_size,
        # Items of one length are often of one kind of utterance.
        pool=1 if any(loss.needs_mixed_lengths for loss in losses) else _POOL,
    )
    return Feed(train_set, sampler, collate, recipe.augment, config.seed)


def _best(folder: Path, device: str) -> dict[str, Tensor]:
    path = folder / "best.pt"
    try:
        state: dict[str, Tensor] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise StoreError(
            f"the best weights cannot be read ({unreadable_reason(error)})",
            item=path,
            remedy="Train again in another folder.",
        ) from error
    return state


def dev_scores(predictions: PredictionSet, label_set: LabelSet, metric: str) -> dict[str, float]:
    """What an epoch is judged by: ``score``, of which more is better, and every metric that is defined on dev.

    Several labels an item are decided as the finished model will decide them, at the thresholds that are best on these
    items: at 0.5 that epoch would win whose probabilities happen to lie well, not the one that tells labels apart best.

    Args:
        predictions: of the dev items.
        label_set: what they mean.
        metric: gives ``score``.

    Raises:
        EvaluationError: when that metric is undefined.
    """
    outputs, target = label_set.activate(predictions.logits.double()).numpy(), predictions.target.numpy()
    decided = choose_thresholds(outputs, target).apply(outputs) if label_set.task == "multi-label" else outputs

    def value(name: str) -> float:
        return METRICS[name].function(METRICS[name].given(outputs, decided), target, "exclude")

    score = value(metric)
    scores = {"score": score if METRICS[metric].higher_is_better else -score}
    for name in metrics_of(label_set):
        with suppress(EvaluationError):
            scores[name] = value(name)
    return scores


def _format_epoch(line: Mapping[str, Any]) -> str:
    shown = ("loss", "score", "accuracy", "uar", "macro_f1", "mean_f1", "mean_ccc", "mean_mae")
    numbers = "  ".join(f"{k} {line[k]:.3f}" for k in shown if k in line)
    return f"epoch {line['epoch']}: {numbers}" + ("  (best)" if line["best_epoch"] == line["epoch"] else "")
