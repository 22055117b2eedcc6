"""The training loop: batches in, checkpoints and a log out. Knows tensors, not corpora."""

from __future__ import annotations

import copy
import math
import pickle
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maeum.errors import ConfigError, ModelError, StoreError
from maeum.models.network import Network
from maeum.models.stored_weights import unreadable_reason
from maeum.training.checkpoint import save_atomically, seed_everything
from maeum.training.config import TrainConfig
from maeum.training.dropout import quicken_dropout
from maeum.training.log import append_to_log
from maeum.training.objective import Objective
from maeum.training.parts import backward
from maeum.training.processes import Processes
from maeum.types import Batch
from maeum.wording import counted

#: What a run continues from, and the best epoch's weights; nothing needs them once the model is finished.
CHECKPOINTS = ("last.pt", "best.pt")
#: Epochs before which a score no better than chance is not remarked on.
_FEWEST_EPOCHS = 3
#: Learning rates where a recipe names none: of networks trained from nothing, and of those with encoders of the hub.
DEFAULT_LR, HUB_LR = 3e-4, 3e-5


@dataclass
class Progress:
    """Where a training stands; part of the checkpoint.

    epoch: finished epochs. batch: finished batches of the next one. step: updates so far. best_score, best_epoch: of
    the epoch that is best on dev, which is counted from 1; 0 before the first. loss_sum, parts: sums over the next
    epoch's batches, of the loss and of what its losses say for the log.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float = -math.inf
    best_epoch: int = 0
    loss_sum: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Trains one model, and resumes exactly where a killed run stood.

    Args:
        model: takes a Batch, gives a ModelOutput.
        config: how to train.
        objective: what is minimised.
        batches: ``batches(epoch, start)`` gives the batches of an epoch from number ``start`` on; must depend on
            nothing else.
        batches_per_epoch: how many they are.
        evaluate: scores of a model on dev; ``score`` (higher is better) decides which epoch is kept.
        folder: holds ``last.pt``, ``best.pt`` and ``log.jsonl``.
        device: where to train.
        processes: who shares every batch; the first of them evaluates, writes and reports.
        remark: what every line of the log has to say of its scores; nothing when empty.
        chance: score on dev above which a training is better than chance; None where nobody knows.
        report: called with every line of the log.
        notify: called with what the user should know about how the training goes, a line each.
        on_step: called with the progress and ``batches_per_epoch`` after every batch.

    Raises:
        ConfigError: when a key of ``lr_scale`` is the beginning of no parameter's name, or all are frozen.
    """

    def __init__(
        self,
        model: Network,
        config: TrainConfig,
        objective: Objective,
        *,
        batches: Callable[[int, int], Iterable[Batch]],
        batches_per_epoch: int,
        evaluate: Callable[[Network], Mapping[str, float]],
        folder: Path,
        device: torch.device | str = "cpu",
        processes: Processes | None = None,
        remark: str = "",
        chance: float | None = None,
        report: Callable[[Mapping[str, Any]], None] | None = None,
        notify: Callable[[str], None] | None = None,
        on_step: Callable[[Progress, int], None] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.batches = batches
        self.batches_per_epoch = batches_per_epoch
        self.evaluate = evaluate
        self.folder = folder
        self.objective = objective
        if objective.teacher is not None:
            objective.teacher.to(self.device).eval()
        self.processes = processes or Processes()
        self.remark = {"remark": remark} if remark else {}
        self.chance = chance
        self.report = report or (lambda line: None)
        self.notify = notify or (lambda note: None)
        self.on_step = on_step or (lambda progress, total: None)
        self.total_steps = max(1, config.epochs * batches_per_epoch)
        quicken_dropout(model)
        if config.recompute:
            recompute(model)
        self.averaged = copy.deepcopy(model).eval() if config.ema else model
        self.optimizer, self.lr = build_optimizer(model, config), learning_rate(model, config)
        self.progress = Progress()
        self.bf16 = config.precision == "bf16" or (config.precision == "auto" and bf16_is_native(self.device))

    def fit(self) -> Progress:
        """Train to the end, from ``last.pt`` where there is one; ``best.pt`` then holds the best epoch's weights."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / "last.pt").exists():
            self.load_checkpoint()
            self.notify(self.where_it_stands())
        else:
            seed_everything(self.config.seed)
        while self.progress.epoch < self.config.epochs and not self.out_of_patience():
            self.train_epoch()
            line = self.finish_epoch()
            if self.processes.rank == 0:
                append_to_log(self.folder, line)
                self.report(line)
                for note in self.notes():
                    self.notify(note)
        return self.progress

    def finish_epoch(self) -> dict[str, Any]:
        """Score the epoch on dev, keep its weights where they are the best, and write a checkpoint; the log's line."""
        progress, first = self.progress, self.processes.rank == 0
        scores = self.processes.gather(dict(self.evaluate(self.averaged)) if first else {})[0]
        progress.epoch += 1
        if scores["score"] > progress.best_score:
            progress.best_score, progress.best_epoch = scores["score"], progress.epoch
            if first:
                save_atomically(self.averaged.state_dict(), self.folder / "best.pt")
        line = {
            "epoch": progress.epoch,
            "step": progress.step,
            "loss": progress.loss_sum / self.batches_per_epoch,
            "lr": self.lr_factor() * self.lr,
            "best_epoch": progress.best_epoch,
            **{f"loss_{name}": total / self.batches_per_epoch for name, total in progress.parts.items()},
            **scores,
            **self.remark,
        }
        progress.batch, progress.loss_sum, progress.parts = 0, 0.0, {}
        self.save_checkpoint()
        return line

    def where_it_stands(self) -> str:
        """What to say of a run that was begun before."""
        done, epochs = self.progress.epoch, counted(self.config.epochs, "epoch")
        if done >= self.config.epochs or self.out_of_patience():
            return f"This run was finished before, with {done} of {epochs}: nothing is trained."
        within = f" and {counted(self.progress.batch, 'batch')}" if self.progress.batch else ""
        return f"This run was begun before: it goes on after {done} of {epochs}{within}."

    def notes(self) -> list[str]:
        """What to say after the epoch that was just finished."""
        config, progress, notes = self.config, self.progress, []
        early = max(_FEWEST_EPOCHS, math.ceil(config.epochs / 3))
        if self.chance is not None and progress.epoch == early and progress.best_score <= self.chance:
            notes.append(
                f"After {progress.epoch} of {config.epochs} epochs the best score on dev ({progress.best_score:.3f}) "
                f"is no better than chance: try a higher or lower training.lr (now {self.lr:g}), a longer "
                "training.warmup, or look whether the corpus' labels and media belong together."
            )
        if self.out_of_patience() and progress.epoch < config.epochs:
            notes.append(
                f"Stopped after epoch {progress.epoch} of {config.epochs}: dev was best in epoch "
                f"{progress.best_epoch}, and training.patience is {config.patience}."
            )
        return notes

    def out_of_patience(self) -> bool:
        """Whether dev has not improved for longer than the configuration allows."""
        patience = self.config.patience
        return patience is not None and self.progress.epoch - self.progress.best_epoch >= patience

    def train_epoch(self) -> None:
        """One pass over the training batches, from where the progress stands."""
        self.model.train()
        rest_frozen_parts(self.model)
        saved = time.monotonic()
        for batch in self.batches(self.progress.epoch, self.progress.batch):
            self.progress.loss_sum += self.train_step(batch.to(self.device))
            self.progress.batch += 1
            self.on_step(self.progress, self.batches_per_epoch)
            if time.monotonic() - saved > self.config.checkpoint_every_s:
                self.save_checkpoint()
                saved = time.monotonic()

    def train_step(self, batch: Batch) -> float:
        """One update; returns the loss. Raises ModelError when it is not finite."""
        assert batch.target is not None
        factor = self.lr_factor()
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * group["scale"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision():
            given = self.at_scheduled_size(batch)
        if (count := self.config.accumulate * self.processes.world) > 1:
            seed = self.config.seed * 1_000_003 + self.progress.step
            loss, parts = backward(self.objective, self.model, given, count, seed, self.precision, self.processes)
        else:
            with self.precision():
                loss, parts = self.objective(self.model, given)
        if not torch.isfinite(loss):
            raise ModelError(
                f"the loss is {loss.item()} at step {self.progress.step}, clips {batch.ids[:3]}...",
                item=self.folder,
                remedy="Use a lower learning rate, a smaller clip_norm or precision fp32, in a new folder.",
            )
        if count == 1:
            loss.backward()  # type: ignore[no-untyped-call]
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.progress.step += 1
        for name, value in parts.items():
            self.progress.parts[name] = self.progress.parts.get(name, 0.0) + value
        self.update_average()
        return float(loss.detach())

    def precision(self) -> AbstractContextManager[Any]:
        """The context in which the network computes."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def lr_factor(self) -> float:
        """Learning rate at this step relative to ``config.lr``."""
        done = self.progress.step / self.total_steps
        warmup = self.config.warmup
        if done < warmup:
            return (self.progress.step + 1) / max(1.0, warmup * self.total_steps)
        if self.config.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - warmup) / (1 - warmup))))

    def at_scheduled_size(self, batch: Batch) -> Batch:
        """The batch with its faces at this step's resolution."""
        done = self.progress.step / self.total_steps
        size = next((height for start, height in reversed(self.config.face_sizes) if done >= start), None)
        if size is None or batch.faces is None or batch.faces.shape[-1] == size:
            return batch
        flat = batch.faces.float().flatten(0, 1)
        small = nn.functional.interpolate(flat, size=(size, size), mode="bilinear", antialias=True)
        return Batch(**{**vars(batch), "faces": small.view(*batch.faces.shape[:3], size, size)})

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged weights towards the model's."""
        if not self.config.ema:
            return
        decay = min(self.config.ema, (1 + self.progress.step) / (10 + self.progress.step))
        averaged = self.averaged.state_dict()
        frozen = {name for name, parameter in self.model.named_parameters() if not parameter.requires_grad}
        for name, now in self.model.state_dict().items():
            mean = averaged[name]
            if name in frozen:  # it is what it was when the average was begun
                continue
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def save_checkpoint(self) -> None:
        """Write ``last.pt``: everything that an exact continuation needs; the first process does."""
        if self.processes.rank:
            return
        state = {
            "progress": vars(self.progress),
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict() if self.config.ema else None,
            "optimizer": self.optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else None,
            "losses": self.objective.state_dict(),
            "config": self.config.model_dump(),
            "epochs_from": 1,
        }
        save_atomically(state, self.folder / "last.pt")

    def load_checkpoint(self) -> None:
        """Continue from ``last.pt``.

        Raises:
            StoreError: when it cannot be read, or was made with other settings.
        """
        path = self.folder / "last.pt"
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise StoreError(
                f"the checkpoint cannot be read ({unreadable_reason(error)})",
                item=path,
                remedy="Delete it to start anew.",
            ) from error
        if state.get("epochs_from") != 1:
            raise StoreError(
                "the checkpoint is of an earlier version of maeum, whose settings of losses were others",
                item=path,
                remedy="Finish the run with that version, or train in another folder.",
            )
        if TrainConfig.parse(state["config"]) != self.config:
            raise StoreError(
                "the checkpoint was made with other training settings",
                item=path,
                remedy="Use the same settings, or another folder.",
            )
        self.progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"])
        if self.config.ema:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.objective.load_state_dict(state["losses"])
        torch.set_rng_state(state["torch_rng"].cpu())
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda_rng"]])


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Adam or AdamW with one group per learning-rate scale; vectors (biases, norms) are not decayed.

    Raises:
        ConfigError: when a key of ``lr_scale`` is the beginning of no parameter's name, or all are frozen.
    """
    names = [name for name, _ in model.named_parameters()]
    if unused := [key for key in config.lr_scale if not any(name.startswith(key) for name in names)]:
        raise ConfigError(
            f"lr_scale names {unused[0]!r}, but no parameter's name starts so",
            remedy=f"Names start with {', '.join(sorted({name.split('.')[0] for name in names}))}.",
        )
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        keys = [key for key in config.lr_scale if name.startswith(key)]
        scale = config.lr_scale[max(keys, key=len)] if keys else 1.0
        if scale == 0:
            parameter.requires_grad_(False)
            continue
        groups.setdefault((scale, parameter.ndim > 1), []).append(parameter)
    if not groups:
        raise ConfigError("lr_scale freezes every parameter, so nothing can be trained")
    described = [
        {"params": parameters, "scale": scale, "weight_decay": config.weight_decay if decays else 0.0}
        for (scale, decays), parameters in groups.items()
    ]
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(described, lr=learning_rate(model, config), fused=True)


def learning_rate(model: nn.Module, config: TrainConfig) -> float:
    """The learning rate of the settings, else one that suits the network."""
    if config.lr is not None:
        return config.lr
    hub = (module for module in model.modules() if _is_hub_encoder(module))
    trained = any(parameter.requires_grad for module in hub for parameter in module.parameters())
    return HUB_LR if trained else DEFAULT_LR


def recompute(model: nn.Module) -> None:
    """Let encoders of the hub compute their activations again on the way back, instead of keeping them."""
    for module in model.modules():
        for name in _RECOMPUTE:
            if callable(enable := getattr(module, f"{name}_enable", None)):
                enable(**{f"{name}_kwargs": {"use_reentrant": False}})
                break


def recomputes(model: nn.Module) -> bool:
    """Whether there is an encoder that `recompute` changes."""
    return any(_is_hub_encoder(module) for module in model.modules())


def _is_hub_encoder(module: nn.Module) -> bool:
    return any(hasattr(module, f"{name}_enable") for name in _RECOMPUTE)


#: What transformers calls it, now and in earlier versions.
_RECOMPUTE = ("activation_checkpointing", "gradient_checkpointing")


def rest_frozen_parts(model: nn.Module) -> None:
    """Put modules whose parameters are all frozen in eval mode: no dropout, and batch norms keep their statistics."""
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def bf16_is_native(device: torch.device) -> bool:
    """Whether bf16 is faster than fp32 here: Ampere and later GPUs, CPUs with AMX or AVX-512 BF16 (x1.8 on Zen 4).

    Where torch is limited to fewer vector units than the CPU has (``ATEN_CPU_CAPABILITY``), its attention in bf16
    fails, so it counts as slower.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
