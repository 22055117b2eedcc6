"""Training objectives: functions of a ModelOutput and a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.errors import ModelError
from maeum.labels import Task
from maeum.types import ModelOutput

LossName = Literal["cross-entropy", "bce", "squared-error", "ccc"]

#: Added to the denominator of the concordance, of values that count as 0..1: 1 / 10,000 of a range, squared.
_TINY = 1e-8

#: Which losses fit which kind of target.
LOSSES: dict[Task, tuple[LossName, ...]] = {
    "single-label": ("cross-entropy", "bce"),
    "multi-label": ("bce",),
    "dimensional": ("ccc", "squared-error"),
}


def class_loss(
    logits: Tensor,
    target: Tensor,
    kind: LossName,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    ranges: Tensor | None = None,
) -> Tensor:
    """Mean loss of ``logits (n, labels)``.

    Args:
        logits: ``(n, labels)``.
        target: ``(n,)`` int64 or ``(n, labels)`` probabilities for cross-entropy and bce; ``(n, labels)`` 0/1 for bce;
            ``(n, labels)`` values in the units of their scales for squared-error and ccc, NaN where there is none.
        kind: ``cross-entropy`` over exclusive labels; ``bce`` per label (Dai et al. 2021); ``squared-error`` of
            values on scales, each scale counted as 0..1; ``ccc``: see `concordance_loss`.
        class_weight: cross-entropy: weight per class; bce: weight of the positives per class. ``(labels,)``.
        label_smoothing: mass spread evenly over all labels (cross-entropy only).
        ranges: lowest and highest value of each scale, ``(labels, 2)``; needed by squared-error and ccc.
    """
    if kind in ("squared-error", "ccc"):
        assert ranges is not None
        values = logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()
        low, high = ranges.to(values).unbind(-1)
        there = ~target.isnan()
        wanted = torch.where(there, (target.to(values) - low) / (high - low), 0.0)
        if kind == "ccc":
            return concordance_loss(values, wanted, there)
        return ((values - wanted).square() * there).sum() / there.sum().clamp(min=1)
    if kind == "cross-entropy":
        return F.cross_entropy(logits, target, weight=class_weight, label_smoothing=label_smoothing)
    if target.ndim == 1:
        target = F.one_hot(target, logits.shape[1])
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), pos_weight=class_weight)


def concordance_loss(values: Tensor, target: Tensor, there: Tensor) -> Tensor:
    """1 - CCC of a batch, the mean over scales; Lin's concordance with variances divided by n.

    As a loss: Trigeorgis et al., "Adieu features?", ICASSP 2016. One item, or targets that are all the same, say
    nothing about concordance: the loss of such a scale is 1 and its gradient 0. A scale without targets does not count;
    without any target at all the loss is 0.

    Args:
        values: ``(n, scales)``, 0..1.
        target: likewise; not read where there is none.
        there: which targets there are, ``(n, scales)`` bool.
    """
    weight = there.to(values.dtype)
    count = weight.sum(0).clamp(min=1)
    target = torch.where(there, target, 0.0)
    said_mean, true_mean = (values * weight).sum(0) / count, target.sum(0) / count
    said, true = (values - said_mean) * weight, (target - true_mean) * weight
    covariance = (said * true).sum(0) / count
    spread = (said.square() + true.square()).sum(0) / count + (said_mean - true_mean).square()
    loss = 1 - 2 * covariance / (spread + _TINY)
    counts = there.any(0)
    return (loss * counts).sum() / counts.sum().clamp(min=1)


def emotion_loss(
    output: ModelOutput,
    target: Tensor,
    kind: LossName,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    modality_weight: float = 0.0,
    ranges: Tensor | None = None,
) -> Tensor:
    """Loss of the fused logits plus ``modality_weight`` times each present modality's own; see `class_loss`."""
    total = class_loss(output.logits, target, kind, class_weight, label_smoothing, ranges)
    if modality_weight > 0:
        for modality, logits in output.modality_logits.items():
            there = output.present[modality]
            if bool(there.any()):
                own = class_loss(logits[there], target[there], kind, class_weight, label_smoothing, ranges)
                total = total + modality_weight * own
    return total


def distillation_loss(output: ModelOutput, teacher: ModelOutput, kind: LossName, temperature: float) -> Tensor:
    """How far a network's softened answers are from a teacher's (Hinton et al. 2015), times the temperature squared.

    The mean over the fused answer and that of each modality that both have, of Kullback-Leibler divergences: of the
    classes for ``cross-entropy``, of every label for ``bce``. A branch is held to what the teacher's branch says, which
    has seen that modality alone.

    Args:
        output: of the network that learns.
        teacher: on the same batch.
        kind: ``cross-entropy`` or ``bce``.
        temperature: what logits are divided by.
    """

    def apart(mine: Tensor, theirs: Tensor) -> Tensor:
        mine, theirs = mine.float() / temperature, theirs.float() / temperature
        if kind == "cross-entropy":
            return F.kl_div(mine.log_softmax(1), theirs.log_softmax(1), reduction="batchmean", log_target=True)
        wanted = theirs.sigmoid()
        surprise = F.binary_cross_entropy_with_logits(mine, wanted, reduction="none")
        return (surprise - F.binary_cross_entropy_with_logits(theirs, wanted, reduction="none")).mean()

    found = [apart(output.logits, teacher.logits)]
    for modality, logits in output.modality_logits.items():
        if modality in teacher.modality_logits and bool((there := output.present[modality]).any()):
            found.append(apart(logits[there], teacher.modality_logits[modality][there]))
    return torch.stack(found).mean() * temperature**2


def encoding_loss(output: ModelOutput, teacher: ModelOutput) -> Tensor:
    """How far the encoded frames and mel chunks of a network are from a teacher's (hints: Romero et al., ICLR 2015).

    The squared difference over the teacher's variance in the batch, the mean over the branches that both have: 0 when
    they are the same, 1 for a network that only knows the teacher's mean. The variance counts as at least a hundredth
    of the teacher's mean square, for batches of like frames. It asks of every frame and mel chunk by itself what the
    teacher saw in it, whatever its clip's words and label are.

    Args:
        output: of the network that learns, with ``faces.encoded`` and so on in ``auxiliary``.
        teacher: on the same batch.

    Returns:
        0 for a batch without a frame or mel chunk that both read.

    Raises:
        ModelError: when they read other frames or mel chunks, or encode them to another width.
    """
    found = []
    for name in (f"{modality}.encoded" for modality in output.present):
        if name in output.auxiliary and name in teacher.auxiliary:
            mine, theirs = output.auxiliary[name].float(), teacher.auxiliary[name].float()
            if mine.shape != theirs.shape:
                raise ModelError(
                    f"{name} is {tuple(mine.shape)}, and {tuple(theirs.shape)} of the teacher",
                    remedy="Give both networks the same dim and silence_db, or set training.distill_encoded to 0.",
                )
            if len(theirs):
                least = theirs.square().mean() / 100 + 1e-6
                variance = theirs.var(0, correction=0).mean().maximum(least)
                found.append((mine - theirs).square().mean() / variance)
    return torch.stack(found).mean() if found else output.logits.new_zeros(())


def class_weights(target: Tensor, labels: int, kind: LossName) -> Tensor:
    """Weights that even out the classes, ``(labels,)``.

    Cross-entropy: inverse frequency, mean 1 over the items; a class without items never is a target and gets 1.
    BCE: negatives / positives (Dai et al. 2021); a class that no item has, or every item, has nothing to be evened out
    against and gets 1.

    Args:
        target: all training targets, ``(n,)`` int64 or ``(n, labels)``.
        labels: number of labels.
        kind: which loss they are for.
    """
    hot = F.one_hot(target, labels) if target.ndim == 1 else target
    count = hot.double().sum(0)
    total = float(len(target))
    if kind == "cross-entropy":
        weight = torch.where(count > 0, total / ((count > 0).sum() * count.clamp(min=1)), 1.0)
        return weight.to(torch.float32)
    weight = torch.where((count > 0) & (count < total), (total - count) / count.clamp(min=1), 1.0)
    return weight.to(torch.float32)


@dataclass(frozen=True)
class CTCLoss:
    """loss: mean over the characters of all utterances that could be aligned, 0 without any. characters: how many they
    are. left_out: utterances with more characters than their sound has steps for.
    """

    loss: Tensor
    characters: int
    left_out: int


def ctc_loss(logits: Tensor, steps: Tensor, transcript_ids: Tensor, transcript_mask: Tensor) -> CTCLoss:
    """Connectionist temporal classification (Graves et al., ICML 2006), a mean per character.

    An utterance without speech or characters takes no part. One whose characters need more steps than it has (equal
    neighbours need a blank between them) cannot be aligned; it is left out and counted.

    Args:
        logits: ``(batch, steps, symbols)``, 0 is the blank.
        steps: valid steps, ``(batch, steps)`` bool.
        transcript_ids: characters, ``(batch, length)`` int64.
        transcript_mask: which are valid, ``(batch, length)`` bool.
    """
    has, wanted = steps.sum(1), transcript_mask.sum(1)
    repeated = ((transcript_ids[:, 1:] == transcript_ids[:, :-1]) & transcript_mask[:, 1:]).sum(1)
    asked = (wanted > 0) & (has > 0)
    fits = asked & (wanted + repeated <= has)
    left_out = int((asked & ~fits).sum())
    if not bool(fits.any()):
        return CTCLoss(logits.sum() * 0.0, 0, left_out)
    log_probs = logits[fits].float().log_softmax(2).transpose(0, 1)
    total = F.ctc_loss(log_probs, transcript_ids[fits], has[fits], wanted[fits], reduction="sum", zero_infinity=True)
    characters = int(wanted[fits].sum())
    return CTCLoss(total / characters, characters, left_out)
