"""The baselines' sequence models, held to the same computation without padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from maeum.models.baselines.late_fusion import MaskedLSTM
from maeum.models.baselines.mult import AttentionBlock, MulT, SelfAttentionTransformer
from maeum.models.networks import MODELS
from maeum.types import Batch, ModelOutput

LENGTHS = (5, 2, 1)
SETTINGS: dict[str, Any] = {"labels": 4, "dim": 8, "text": {"vocabulary": 20, "width": 6}}


def sequences(width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS).unsqueeze(1)
    return torch.randn(len(LENGTHS), max(LENGTHS), width), mask


def make_batch() -> Batch:
    """Two clips: everything; words and a face."""
    generator = torch.Generator().manual_seed(1)
    return Batch(
        ids=("all", "no speech"),
        faces=torch.randint(0, 256, (2, 2, 3, 48, 48), generator=generator, dtype=torch.uint8),
        faces_mask=torch.tensor([[1, 1], [1, 0]]).bool(),
        mel_chunks=torch.rand(2, 1, 1, 128, 32, generator=generator) * 8,
        mel_chunks_mask=torch.tensor([[1], [0]]).bool(),
        tokens=torch.randint(1, 20, (2, 4), generator=generator),
        tokens_mask=torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]).bool(),
    )


def only(batch: Batch, *names: str) -> Batch:
    return Batch(ids=batch.ids, **{n: v for n, v in vars(batch).items() if n.removesuffix("_mask") in names})


@pytest.mark.parametrize("layers", [1, 2])
def test_the_lstm_ends_where_each_sequence_ends(layers: int) -> None:
    model = MaskedLSTM(6, 5, 4, layers, 0.3).eval()
    sequence, mask = sequences(6)
    summary = model(sequence, mask)
    for i, length in enumerate(LENGTHS):
        states, _ = model.recurrent(torch.relu(model.project(sequence[i : i + 1, :length])))
        forward, backward = states[0, -1, :4], states[0, 0, 4:]
        torch.testing.assert_close(summary[i], torch.cat((forward, backward)))


@pytest.mark.parametrize("name", ["lf-lstm", "lf-transformer"])
def test_late_fusion_is_the_weighted_sum_of_what_is_there(name: str) -> None:
    model = MODELS[name].build(SETTINGS).eval()
    with torch.no_grad():
        model.fusion.weight.copy_(torch.tensor([[0.5, 2.0, -1.0]]))
    output: ModelOutput = model(make_batch())
    faces, speech, text = (output.modality_logits[m] for m in ("faces", "speech", "text"))
    torch.testing.assert_close(output.logits[0], 0.5 * faces[0] + 2 * speech[0] - text[0])
    torch.testing.assert_close(output.logits[1], 0.5 * faces[1] - text[1])


def test_attention_is_over_the_sources_valid_steps() -> None:
    block = AttentionBlock(8, 2, 0.5).eval()
    target, source, mask = torch.randn(3, 4, 8), *sequences(8)
    looked = block(target, source, mask)
    for i, length in enumerate(LENGTHS):
        query, keys = block.norm_target(target[i]), block.norm_source(source[i, :length])
        weight, bias = block.attention.in_proj_weight, block.attention.in_proj_bias
        q, k, v = (
            nn.functional.linear(x, w, b).unflatten(-1, (2, 4)).transpose(0, 1)
            for x, w, b in zip((query, keys, keys), weight.chunk(3), bias.chunk(3), strict=True)
        )
        seen = ((q @ k.transpose(1, 2) / 2).softmax(-1) @ v).transpose(0, 1).flatten(1)
        expected = target[i] + block.attention.out_proj(seen)
        torch.testing.assert_close(looked[i], expected + block.feedforward(expected), rtol=1e-4, atol=1e-5)


def test_without_a_source_only_the_feed_forward_layer_acts() -> None:
    block = AttentionBlock(8, 2, 0.0).eval()
    target, source, mask = torch.randn(3, 4, 8), *sequences(8)
    mask[1] = False
    expected = target + block.feedforward(target)
    torch.testing.assert_close(block(target, source, mask)[1], expected[1])
    torch.testing.assert_close(block(target, None, None), expected)


def test_self_attention_gives_the_last_valid_step() -> None:
    transformer = SelfAttentionTransformer(8, 2, 2, 0.0).eval()
    sequence, mask = sequences(8)
    summary = transformer(sequence, mask)
    for i, length in enumerate(LENGTHS):
        alone = sequence[i : i + 1, :length]
        for block in transformer.blocks:
            alone = block(alone)
        torch.testing.assert_close(summary[i], transformer.norm(alone[0, -1]), rtol=1e-5, atol=1e-5)


def build_mult(**settings: Any) -> MulT:
    torch.manual_seed(0)
    model = MODELS["mult"].build({**SETTINGS, "heads": 2, "blocks": 2, **settings}).eval()
    assert isinstance(model, MulT)
    return model


def test_every_stream_looks_at_every_other_modality() -> None:
    model, batch = build_mult(), make_batch()
    before = model(batch).features
    for name in ("faces", "mel_chunks", "tokens"):
        changed = getattr(batch, name).flip(1) if name == "tokens" else getattr(batch, name).flip(-1)
        after = model(Batch(**{**vars(batch), name: changed})).features
        for stream in ("faces", "speech", "text"):
            assert not torch.allclose(after[stream][0], before[stream][0], atol=1e-6), (name, stream)


def test_a_modalitys_own_answer_is_that_to_it_alone() -> None:
    model, batch = build_mult(), make_batch()
    own = model(batch).modality_logits
    for modality, field in (("faces", "faces"), ("speech", "mel_chunks"), ("text", "tokens")):
        alone = model(only(batch, field))
        there = alone.present[modality]
        torch.testing.assert_close(own[modality][there], alone.logits[there])
        torch.testing.assert_close(alone.modality_logits[modality], alone.logits)


def test_a_pair_of_modalities_has_two_crossmodal_transformers() -> None:
    assert sorted(build_mult(speech=None).crossmodal) == ["faces_from_text", "text_from_faces"]
    assert not len(build_mult(speech=None, faces=None).crossmodal)
