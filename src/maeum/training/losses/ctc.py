"""The CTC loss: how well the speech encoder's frames give the transcript."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from maeum.errors import ConfigError
from maeum.models.network import CTC_LOGITS, CTC_MASK
from maeum.training.losses.base import LOSSES, BatchOutputs, Loss, LossConfig, LossValue
from maeum.types import Batch


@LOSSES.register("ctc")
class CTC(Loss[LossConfig]):
    """Connectionist temporal classification of each utterance's transcript (Ghosh et al. 2023: weight 0.1)."""

    needs_transcripts = True

    def check(self) -> None:
        """See `Loss`."""
        if CTC_LOGITS not in self.setup.network.auxiliary_names:
            raise ConfigError("the loss 'ctc' has a weight, but this network has no CTC head",
                              remedy="Use model: mmer, or leave training.losses.ctc out.")  # fmt: skip
        if self.setup.crops_speech:
            raise ConfigError("the loss 'ctc' needs whole utterances, and augment.mel_chunks.window keeps a stretch",
                              remedy="Set augment.mel_chunks.window to 0, or leave the loss out.")  # fmt: skip

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """See `Loss`; 0 for a batch without speech or without transcripts."""
        found = outputs.output.auxiliary
        if batch.transcript_ids is None or batch.transcript_mask is None or CTC_LOGITS not in found:
            return LossValue(outputs.output.logits.new_zeros(()))
        ctc = ctc_loss(found[CTC_LOGITS], found[CTC_MASK], batch.transcript_ids, batch.transcript_mask)
        return LossValue(ctc.loss, {"ctc": float(ctc.loss.detach()), "ctc_left_out": ctc.left_out})


@dataclass(frozen=True)
class CTCResult:
    """loss: mean over the characters of all utterances that could be aligned, 0 without any. characters: how many they
    are. left_out: utterances with more characters than their sound has frames for.
    """

    loss: Tensor
    characters: int
    left_out: int


def ctc_loss(logits: Tensor, frames: Tensor, transcript_ids: Tensor, transcript_mask: Tensor) -> CTCResult:
    """Connectionist temporal classification (Graves et al., ICML 2006), a mean per character.

    An utterance without speech or characters takes no part. One whose characters need more frames than it has (equal
    neighbours need a blank between them) cannot be aligned; it is left out and counted.

    Args:
        logits: ``(batch, frames, symbols)``, 0 is the blank.
        frames: valid frames, ``(batch, frames)`` bool.
        transcript_ids: characters, ``(batch, length)`` int64.
        transcript_mask: which are valid, ``(batch, length)`` bool.
    """
    available, wanted = frames.sum(1), transcript_mask.sum(1)
    repeated = ((transcript_ids[:, 1:] == transcript_ids[:, :-1]) & transcript_mask[:, 1:]).sum(1)
    takes_part = (wanted > 0) & (available > 0)
    fits = takes_part & (wanted + repeated <= available)
    left_out = int((takes_part & ~fits).sum())
    if not bool(fits.any()):
        return CTCResult(logits.sum() * 0.0, 0, left_out)
    log_probs = logits[fits].float().log_softmax(2).transpose(0, 1)
    total = F.ctc_loss(
        log_probs, transcript_ids[fits], available[fits], wanted[fits], reduction="sum", zero_infinity=True
    )
    characters = int(wanted[fits].sum())
    return CTCResult(total / characters, characters, left_out)
