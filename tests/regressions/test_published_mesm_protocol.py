"""Defects of the published MESM code that concern splits, speed and padding."""

from __future__ import annotations

import subprocess
import sys

import torch

from maeum.data.collate import Collator
from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, TransformerConfig
from maeum.types import Clip


def test_15_training_never_runs_the_face_detector() -> None:
    """Published: the detector ran inside every forward pass. Here the training side cannot even reach it."""
    imports = "import sys, maeum.training.loop, maeum.models.networks"
    code = f"{imports}; print([m for m in sys.modules if 'maeum.media' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_16_padding_does_not_change_an_answer() -> None:
    """Published: padded steps leaked into the baselines' answers."""
    torch.manual_seed(0)
    branch = BranchConfig(widths=(4, 4, 4, 8), stem_blocks=1, hidden=8, transformer=TransformerConfig(layers=1))
    model = FE2E(FE2EConfig(labels=3, dim=8, faces=branch, speech=branch)).eval()
    collate = Collator()
    short = Clip("short", torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8), torch.randn(1, 1, 128, 32))
    long = Clip("long", torch.randint(0, 256, (7, 3, 48, 48), dtype=torch.uint8), torch.randn(6, 1, 128, 32))
    alone, together = model(collate([short])), model(collate([short, long]))
    torch.testing.assert_close(alone.logits[0], together.logits[0], rtol=1e-5, atol=1e-5)
