"""Outputs of a frozen text encoder, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maeum.data.collate import Collator
from maeum.errors import StoreError
from maeum.experiments.text_vectors import TextVectors, keep_texts
from maeum.models.mmer import MMER, MMERConfig
from maeum.models.text import HubTextConfig, HubTextEncoder
from maeum.types import Clip

ROBERTA: dict[str, Any] = {
    "model_type": "roberta", "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 12, "max_position_embeddings": 40, "pad_token_id": 1,
}  # fmt: skip
TEXTS = ["to be", "or not to be", "that is", None, "the question"]


def tokenize(texts: list[str]) -> list[list[int]]:
    return [[0, *(3 + sum(map(ord, word)) % 37 for word in text.split()), 2] for text in texts]


@pytest.fixture
def encoder() -> HubTextEncoder:
    torch.manual_seed(0)
    return HubTextEncoder(HubTextConfig(architecture=ROBERTA)).eval()


class Counted(HubTextEncoder):
    """Counts the texts that it reads."""

    read = 0

    def sequence(self, tokens: Tensor, mask: Tensor) -> Tensor:
        self.read += len(tokens)
        return super().sequence(tokens, mask)


def test_every_text_is_read_once_and_found_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Counted(HubTextConfig(architecture=ROBERTA)).eval()
    collate = Collator(tokenize)
    find = keep_texts([tmp_path], [TEXTS], encoder, collate)
    assert encoder.read == 4
    again = keep_texts([tmp_path], [[*TEXTS, "one more"]], encoder, collate)
    assert encoder.read == 5
    row = collate.tokens([Clip("", text="or not to be")])[0]
    assert row is not None
    expected = encoder.sequence(row.unsqueeze(0), torch.ones(1, len(row), dtype=torch.bool))[0]
    for found in (find(row), again(row)):
        assert found is not None
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert find(torch.tensor([0, 5, 2])) is None


def test_another_encoder_finds_nothing(tmp_path: Path, encoder: HubTextEncoder) -> None:
    TextVectors(tmp_path, encoder).add([torch.tensor([0, 5, 2])])
    assert len(TextVectors(tmp_path, encoder)) == 1
    with torch.no_grad():
        next(encoder.parameters())[0, 0] += 1
    assert len(TextVectors(tmp_path, encoder)) == 0


def test_a_damaged_file_is_named(tmp_path: Path, encoder: HubTextEncoder) -> None:
    TextVectors(tmp_path, encoder).add([torch.tensor([0, 5, 2])])
    next(tmp_path.rglob("*.safetensors")).write_bytes(b"x")
    with pytest.raises(StoreError, match="is damaged"):
        TextVectors(tmp_path, encoder)


def test_mmer_09_mask_and_kept_vectors_are_of_the_same_tokens(tmp_path: Path) -> None:
    """Published: the mask and the embeddings read from files could disagree in length."""
    torch.manual_seed(0)
    sizes = {"labels": 3, "dim": 8, "heads": 2, "feedforward": 8, "project": 0}
    text = {"kind": "hub", "architecture": ROBERTA}
    model = MMER(MMERConfig.parse({**sizes, "speech": None, "text": text})).eval()
    encoder = model.encoders["text"]
    assert isinstance(encoder, HubTextEncoder)
    plain = Collator(tokenize, pad_id=1, max_tokens=5)
    find = keep_texts([tmp_path], [TEXTS], encoder, plain)
    kept = Collator(tokenize, pad_id=1, max_tokens=5, vectors=find)
    clips = [Clip(str(i), text=text) for i, text in enumerate(TEXTS)]
    batch = kept(clips)
    assert batch.vectors is not None
    assert batch.tokens_mask is not None
    assert batch.vectors.shape[:2] == batch.tokens_mask.shape
    encoder.sequence = None  # type: ignore[assignment, method-assign]
    with_kept = model(batch).logits
    del encoder.sequence
    torch.testing.assert_close(with_kept, model(plain(clips)).logits, rtol=1e-5, atol=1e-5)
    assert kept([*clips, Clip("new", text="never read")]).vectors is None
