"""What every registered network keeps to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from maeum.labels import LabelSet
from maeum.models.card import ModelCard
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained, save_pretrained
from maeum.training.losses.emotion import emotion_loss
from maeum.types import Batch

BRANCH = {"widths": (4, 6, 8, 10), "stem_blocks": 1, "hidden": 12, "transformer": {"layers": 1, "feedforward": 16}}
END_TO_END = {
    "labels": 5,
    "dim": 8,
    "faces": BRANCH,
    "speech": {**BRANCH, "norm": "each"},
    "text": {
        "kind": "small",
        "vocabulary": 50,
        "width": 8,
        "channels": 4,
        "dim": 12,
        "token_dropout": 0.0,
        "embedding_dropout": 0.0,
        "summary_dropout": 0.0,
    },
}
TWO_PHASE = {"labels": 5, "dim": 8, "speech": {"frames": 16}, "text": {"vocabulary": 50, "width": 8}}
#: Settings of a small network of each kind.
SMALL: dict[str, dict[str, object]] = {
    "fe2e": END_TO_END,
    "mesm": {**END_TO_END, "levels": 1},  # norms of a level that is not drawn get no gradient
    "lf-lstm": {**TWO_PHASE, "hidden": 6, "layers": 2},
    "lf-transformer": {**TWO_PHASE, "transformer": {"layers": 1, "feedforward": 16}},
    "mult": {**TWO_PHASE, "heads": 2, "blocks": 2},
    "mmer": {
        "labels": 5,
        "dim": 8,
        "heads": 2,
        "feedforward": 12,
        "speech": {"kind": "small", "widths": [4, 6], "dim": 16, "feedforward": 16},
        "text": END_TO_END["text"],
        "freeze_text": False,
        "project": 0,
    },
}
#: Modalities that a network reads, where these are not all.
READS: dict[str, tuple[str, ...]] = {"mmer": ("speech", "text")}
#: Networks that read modalities together only, so that none has an opinion of its own.
TOGETHER = ("mmer",)
pytestmark = pytest.mark.parametrize("name", list(MODELS))


def build(name: str, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    return MODELS[name].build({**SMALL[name], **settings})


def make_batch() -> Batch:
    """Three clips: all modalities; no text and no faces; only text."""
    generator = torch.Generator().manual_seed(1)
    return Batch(
        ids=("all", "speech", "text"),
        faces=torch.randint(0, 256, (3, 3, 3, 48, 48), generator=generator, dtype=torch.uint8),
        faces_mask=torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 0]]).bool(),
        mel_chunks=torch.randn(3, 2, 1, 128, 32, generator=generator) * 3 - 4,
        mel_chunks_mask=torch.tensor([[1, 1], [1, 0], [0, 0]]).bool(),
        tokens=torch.randint(1, 50, (3, 6), generator=generator),
        tokens_mask=torch.tensor([[1, 1, 1, 1, 0, 0], [0] * 6, [1, 1, 1, 1, 1, 1]]).bool(),
        target=torch.tensor([0, 3, 4]),
    )


def alone(batch: Batch, i: int) -> Batch:
    """Clip i by itself, without padding; modalities that it lacks are absent."""
    fields = {}
    for values, mask in (("faces", "faces_mask"), ("mel_chunks", "mel_chunks_mask"), ("tokens", "tokens_mask")):
        length = int(getattr(batch, mask)[i].sum())
        if length:
            fields[values] = getattr(batch, values)[i : i + 1, :length]
            fields[mask] = getattr(batch, mask)[i : i + 1, :length]
    return Batch(ids=batch.ids[i : i + 1], **fields)


def test_a_clip_does_not_depend_on_padding_or_on_the_rest_of_the_batch(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    together = model(batch)
    for i in range(3):
        torch.testing.assert_close(model(alone(batch, i)).logits[0], together.logits[i], rtol=1e-5, atol=1e-5)


def test_what_lies_under_the_padding_is_not_read(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    before = model(batch).logits
    for values, mask in (("faces", "faces_mask"), ("mel_chunks", "mel_chunks_mask"), ("tokens", "tokens_mask")):
        tensor = getattr(batch, values)
        tensor[~getattr(batch, mask)] = 1
    torch.testing.assert_close(model(batch).logits, before, rtol=0, atol=0)


def test_every_parameter_gets_a_gradient(name: str) -> None:
    model, batch = build(name).train(), make_batch()
    assert batch.target is not None
    emotion_loss(model(batch), batch.target, "cross-entropy", modality_weight=1.0).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_saved_and_loaded_it_says_the_same(name: str, tmp_path: Path) -> None:
    model, batch = build(name).eval(), make_batch()
    labels = LabelSet(("a", "b", "c", "d", "e"))
    card = ModelCard(name="x", title="x", licence="none", non_commercial=True, parameters=0)
    save_pretrained(tmp_path / "model", kind=name, model=model, label_set=labels, card=card)
    again = load_pretrained(tmp_path / "model")
    assert again.label_set == labels
    torch.testing.assert_close(again.model(batch).logits, model(batch).logits, rtol=1e-5, atol=1e-6)


def test_shares_of_the_modalities_that_a_clip_has_sum_to_one(name: str, tmp_path: Path) -> None:
    card = ModelCard(name="x", title="x", licence="none", non_commercial=True, parameters=0)
    labels = LabelSet(("a", "b", "c", "d", "e"))
    save_pretrained(tmp_path / "model", kind=name, model=build(name), label_set=labels, card=card)
    pretrained = load_pretrained(tmp_path / "model")
    fused, own, shares = pretrained.probabilities(pretrained.model(make_batch()))
    torch.testing.assert_close(fused.sum(1), torch.ones(3))
    if name in TOGETHER:
        assert own == shares == {}
        return
    assert set(own) == set(shares) == {"faces", "speech", "text"}
    torch.testing.assert_close(torch.stack(list(shares.values())).sum(0), torch.ones(3))
    assert [shares[m][1].item() > 0 for m in ("faces", "speech", "text")] == [False, True, False]


@pytest.mark.parametrize("left", ["faces", "speech", "text"])
def test_one_modality_is_enough(name: str, left: str) -> None:
    reads = READS.get(name, ("faces", "speech", "text"))
    if left not in reads:
        pytest.skip(f"{name} reads no {left}")
    settings = {m: None for m in reads if m != left}
    model = build(name, **settings).eval()
    output = model(make_batch())
    assert output.logits.shape == (3, 5)
    assert list(output.modality_logits) == ([] if name in TOGETHER else [left])
    assert output.logits.isfinite().all()


def test_a_clip_with_nothing_gets_zeros(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    for mask in (batch.faces_mask, batch.mel_chunks_mask, batch.tokens_mask):
        assert mask is not None
        mask[2] = False
    assert (model(batch).logits[2] == 0).all()


def test_order_of_frames_matters(name: str) -> None:
    if "faces" not in READS.get(name, ("faces",)):
        pytest.skip(f"{name} reads no faces")
    model, batch = build(name).eval(), make_batch()
    assert batch.faces is not None
    if name in ("fe2e", "mesm"):
        with torch.no_grad():  # as drawn, frames are encoded almost alike
            model.encoders["faces"].project[-1].weight *= 100
        batch.faces[0, 1] //= 4  # and noise is like noise
    before = model(batch).logits[0]
    swapped = batch.faces.clone()
    swapped[0, [0, 1]] = swapped[0, [1, 0]]
    after = model(Batch(**{**vars(batch), "faces": swapped})).logits[0]
    assert not torch.allclose(before, after, atol=1e-6)
