"""Dropout as torch's, and quicker on processors (`benchmarks/mmer.py`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: What a random number of 16 bits can be.
_NUMBERS = 1 << 16


class Dropout(nn.Dropout):
    """Dropout whose mask is drawn 64 bits at a time on processors, where torch draws and converts every element.

    ``p`` is rounded to a multiple of 1/65536.
    """

    def forward(self, input: Tensor) -> Tensor:
        """As `torch.nn.Dropout`."""
        dropped = round(self.p * _NUMBERS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < _NUMBERS:
            return super().forward(input)
        drawn = torch.empty((input.numel() + 3) // 4, dtype=torch.int64).random_(-(1 << 63), None)
        kept = drawn.view(torch.int16)[: input.numel()].view(input.shape) >= dropped - _NUMBERS // 2
        return input * kept.to(input.dtype).mul_(_NUMBERS / (_NUMBERS - dropped))


def quicken_dropout(model: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` in a model."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
