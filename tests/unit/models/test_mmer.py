from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maeum.data.collate import pad
from maeum.errors import ModelError
from maeum.models.encoders.text import SmallTextConfig
from maeum.models.mmer import MMER
from maeum.models.published.mmer import load_published_mmer
from maeum.training.losses.ctc import ctc_loss
from maeum.training.losses.published import published_augmented_contrastive, published_supervised_contrastive
from maeum.types import Batch, ModelOutput

GOLDEN = Path(__file__).parents[2] / "golden"
sys.path.insert(0, str(GOLDEN))
from formula import made  # noqa: E402

NUMBERS = np.load(GOLDEN / "mmer_a.npz")
SHAPES = json.loads((GOLDEN / "mmer_shapes.json").read_text())
TOLERANCE = 1e-4
LABELS = torch.tensor([1, 0, 1])


class GivenSequences(nn.Module):
    """A text encoder whose outputs are known."""

    def __init__(self, sequences: Tensor) -> None:
        super().__init__()
        self.sequences = sequences

    def sequence(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.sequences * mask.unsqueeze(2)


def masked(lengths: list[int]) -> Tensor:
    return torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)


def batch(name: str, waves: list[int], words: list[int]) -> tuple[Batch, Tensor]:
    """A batch of the golden inputs and its text vectors."""
    wave = made(f"a.{name}audio", (3, max(waves)), is_input=True)
    text = made(f"a.{name}text", (3, max(words), 768), is_input=True)
    tokens = torch.zeros(3, max(words), dtype=torch.int64)
    return Batch(("1", "2", "3"), tokens=tokens, tokens_mask=masked(words), wave=wave, wave_mask=masked(waves)), text


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return {name: made(name, tuple(shape)) for name, shape in SHAPES.items()}


@pytest.fixture(scope="module")
def published(state: dict[str, Tensor]) -> MMER:
    return load_published_mmer(state, SmallTextConfig(vocabulary=4, width=768))


@pytest.fixture(scope="module")
def outputs(published: MMER) -> tuple[ModelOutput, ModelOutput]:
    """Of the golden utterances and of their augmented views."""
    said = []
    for name, waves, words in (("", [16000, 12000, 14000], [9, 6, 4]), ("aug_", [11000, 15000, 9000], [7, 8, 5])):
        given, text = batch(name, waves, words)
        published.encoders["text"] = GivenSequences(text)
        with torch.no_grad():
            said.append(published(given))
    return said[0], said[1]


def close(ours: Tensor, name: str) -> None:
    golden = torch.from_numpy(np.asarray(NUMBERS[name]))
    assert float((ours - golden).abs().max()) <= TOLERANCE * float(golden.abs().max()), name


def test_published_answers(outputs: tuple[ModelOutput, ModelOutput]) -> None:
    close(outputs[0].logits, "logits")
    close(outputs[0].features["fused"], "fused")
    close(F.cross_entropy(outputs[0].logits, LABELS), "loss_ce")


def test_published_spelling(outputs: tuple[ModelOutput, ModelOutput]) -> None:
    spoken, mask = pad([torch.tensor(row) for row in ([7, 5, 4, 11, 11], [5, 4, 8], [6, 4, 9, 10])])
    assert spoken is not None
    assert mask is not None
    shown = outputs[0].auxiliary
    ctc = ctc_loss(shown["ctc.logits"], shown["ctc.mask"], spoken, mask)
    assert (ctc.characters, ctc.left_out) == (12, 0)
    close(ctc.loss * 12, "loss_ctc_sum")


def test_published_contrasts(outputs: tuple[ModelOutput, ModelOutput]) -> None:
    view, views = outputs[0].auxiliary["projection"], outputs[1].auxiliary["view_projection"]
    close(published_augmented_contrastive(view, views), "loss_acl")
    close(published_supervised_contrastive(view, LABELS), "loss_scl_reference")


def test_a_published_checkpoint_is_read_from_a_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    few = {k: v for k, v in state.items() if ".encoder.layers." not in k or ".encoder.layers.0." in k}
    torch.save(few, tmp_path / "mmer.pt")
    model = load_published_mmer(tmp_path / "mmer.pt", SmallTextConfig(vocabulary=4, width=768), sees_padding=False)
    torch.testing.assert_close(model.head.weight, state["model_mmi.classifier.linear3.weight"])
    del few["model_mmi.gate.bias"]
    torch.save(few, tmp_path / "mmer.pt")
    with pytest.raises(ModelError, match=r"missing.*gate\.bias"):
        load_published_mmer(tmp_path / "mmer.pt", SmallTextConfig(vocabulary=4, width=768))
    torch.save({**few, "model_mmi.gatee.bias": torch.zeros(3)}, tmp_path / "mmer.pt")
    with pytest.raises(ModelError, match=r"unknown name 'gatee\.bias'"):
        load_published_mmer(tmp_path / "mmer.pt", SmallTextConfig(vocabulary=4, width=768))
