"""Encoding distillation: the network's encodings of frames and mel chunks are to be a teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from maeum.errors import ConfigError, ModelError
from maeum.models.network import ComparesEncodings, encodings_name
from maeum.training.losses.base import LOSSES, BatchOutputs, Loss, LossConfig, LossValue
from maeum.training.losses.distillation import check_teacher
from maeum.types import Batch, ModelOutput

_REMEDY = "Give both networks the same dim and silence_db, or leave training.losses.encoding-distillation out."


@LOSSES.register("encoding-distillation")
class EncodingDistillation(Loss[LossConfig]):
    """Distance of the encoded frames and mel chunks from a teacher's (hints: Romero et al., ICLR 2015)."""

    tasks = ("single-label", "multi-label")
    needs_teacher = True

    def check(self) -> None:
        """See `Loss`."""
        check_teacher(self.setup, "encoding-distillation")
        assert self.setup.teacher is not None
        network = self.setup.network
        if not isinstance(network, ComparesEncodings):
            raise ConfigError(
                f"the network {type(network).__name__} shows no encodings of frames and mel chunks to compare",
                remedy="Use model: fe2e or mesm, or leave training.losses.encoding-distillation out.",
            )
        try:
            network.check_teacher(self.setup.teacher.model)
        except ConfigError as error:
            raise ConfigError(error.problem, item=self.setup.teacher.name, remedy=error.remedy or _REMEDY) from error

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """See `Loss`."""
        assert outputs.teacher is not None
        loss = encoding_loss(outputs.output, outputs.teacher)
        return LossValue(loss, {"encoding_distillation": float(loss.detach())})


def encoding_loss(output: ModelOutput, teacher: ModelOutput) -> Tensor:
    """How far the encoded frames and mel chunks of a network are from a teacher's.

    The squared difference over the teacher's variance in the batch, the mean over the branches that both have: 0 when
    they are the same, 1 for a network that only knows the teacher's mean. The variance counts as at least a hundredth
    of the teacher's mean square, for batches of like frames. Every frame and mel chunk is compared by itself, whatever
    its clip's words and label are.

    Args:
        output: of the network that learns, with ``faces.encoded`` and so on in ``auxiliary``.
        teacher: on the same batch.

    Returns:
        0 for a batch without a frame or mel chunk that both read.

    Raises:
        ModelError: when they read other frames or mel chunks, or encode them to another width.
    """
    found = []
    for name in (encodings_name(modality) for modality in output.present):
        if name in output.auxiliary and name in teacher.auxiliary:
            mine, theirs = output.auxiliary[name].float(), teacher.auxiliary[name].float()
            if mine.shape != theirs.shape:
                raise ModelError(
                    f"{name} is {tuple(mine.shape)}, and {tuple(theirs.shape)} of the teacher", remedy=_REMEDY
                )
            if len(theirs):
                least = theirs.square().mean() / 100 + 1e-6
                variance = theirs.var(0, correction=0).mean().maximum(least)
                found.append((mine - theirs).square().mean() / variance)
    return torch.stack(found).mean() if found else output.logits.new_zeros(())
