"""Distillation: the network's softened outputs are to be a teacher's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from maeum.errors import ConfigError
from maeum.training.losses.base import LOSSES, BatchOutputs, Loss, LossConfig, LossSetup, LossValue
from maeum.types import Batch, ModelOutput


class DistillationConfig(LossConfig):
    """Settings of the distillation."""

    temperature: float = Field(default=2.0, ge=0.001, le=1000)
    """Divides the logits of both networks; higher ones show more of what the teacher thinks of the other labels."""


@LOSSES.register("distillation")
class Distillation(Loss[DistillationConfig]):
    """Divergence of the network's outputs from a teacher's (Hinton et al. 2015)."""

    Config = DistillationConfig
    tasks = ("single-label", "multi-label")
    needs_teacher = True

    def __init__(self, config: DistillationConfig, setup: LossSetup) -> None:
        super().__init__(config, setup)
        self.over_labels = LOSSES[setup.emotion_loss].per_label

    def check(self) -> None:
        """See `Loss`."""
        check_teacher(self.setup, "distillation")

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """See `Loss`."""
        assert outputs.teacher is not None
        loss = distillation_loss(outputs.output, outputs.teacher, self.config.temperature, per_label=self.over_labels)
        return LossValue(loss, {"distillation": float(loss.detach())})


def check_teacher(setup: LossSetup, name: str) -> None:
    """Raise ConfigError when there is no teacher, or it has other labels."""
    if setup.teacher is None:
        raise ConfigError(f"the loss {name!r} needs a teacher, and the recipe names none",
                          remedy=f"Name a teacher, or leave training.losses.{name} out.")  # fmt: skip
    theirs, ours = setup.teacher.label_set.names, setup.label_set.names
    if theirs != ours:
        raise ConfigError(
            f"its labels are {', '.join(theirs)}, the network's {', '.join(ours)}", item=setup.teacher.name
        )


def distillation_loss(output: ModelOutput, teacher: ModelOutput, temperature: float, *, per_label: bool) -> Tensor:
    """How far a network's softened outputs are from a teacher's, times the temperature squared.

    The mean over the fused logits and those of each modality that both have, of Kullback-Leibler divergences. A branch
    is compared with the teacher's branch, which has seen that modality alone.

    Args:
        output: of the network that learns.
        teacher: on the same batch.
        temperature: divides the logits.
        per_label: whether each label is a yes or no of its own, instead of one choice among all.
    """

    def divergence(mine: Tensor, theirs: Tensor) -> Tensor:
        mine, theirs = mine.float() / temperature, theirs.float() / temperature
        if not per_label:
            return F.kl_div(mine.log_softmax(1), theirs.log_softmax(1), reduction="batchmean", log_target=True)
        wanted = theirs.sigmoid()
        crossed = F.binary_cross_entropy_with_logits(mine, wanted, reduction="none")
        return (crossed - F.binary_cross_entropy_with_logits(theirs, wanted, reduction="none")).mean()

    found = [divergence(output.logits, teacher.logits)]
    for modality, logits in output.modality_logits.items():
        if modality in teacher.modality_logits and bool((present := output.present[modality]).any()):
            found.append(divergence(logits[present], teacher.modality_logits[modality][present]))
    return torch.stack(found).mean() * temperature**2
