"""The layers of pretrained speech encoders as a speech branch: of Whisper, and of wav2vec2 and its kin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel

from maeum.errors import ConfigError, ModelError
from maeum.labels import LabelSet
from maeum.models.card import ModelCard
from maeum.models.encoders.pretrained_speech import (
    AttentiveStatistics,
    PretrainedSpeech,
    PretrainedSpeechConfig,
    Standardise,
    shrunk,
    trimmed,
)
from maeum.models.encoders.whisper import hide_stretches
from maeum.models.network import CountsOperations, Network
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained, save_pretrained
from maeum.training.loop import rest_frozen_parts
from maeum.types import Batch

WHISPER: dict[str, Any] = {
    "model_type": "whisper", "d_model": 8, "vocab_size": 9, "encoder_layers": 3, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12,
    "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 4,
}  # fmt: skip
WAV2VEC2: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8, 8],
    "conv_kernel": [10, 8], "conv_stride": [10, 16], "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
KINDS = {"whisper": WHISPER, **{kind: {"model_type": kind, **WAV2VEC2} for kind in ("wav2vec2", "hubert", "wavlm")}}
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")  # transformers' WavLM
kinds = pytest.mark.parametrize("architecture", KINDS.values(), ids=KINDS)


def fe2e(architecture: dict[str, Any], model: str = "fe2e", **changes: Any) -> Network:
    torch.manual_seed(0)
    speech = {"kind": "pretrained", "architecture": architecture, **changes}
    return MODELS[model].build({"labels": 4, "dim": 8, "faces": None, "speech": speech})


def batch_of(*lengths: int) -> Batch:
    generator = torch.Generator().manual_seed(3)
    wave = torch.randn(len(lengths), max(lengths), generator=generator) * 0.1
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return Batch(tuple(map(str, lengths)), wave=wave, wave_mask=mask)


@kinds
def test_an_utterance_is_read_alike_alone_and_with_others(architecture: dict[str, Any]) -> None:
    model, lengths = fe2e(architecture).eval(), (16_000, 9_000, 0, 4_321)
    assert model.input_needs.sound == "wave"
    batch = batch_of(*lengths)
    assert batch.wave is not None
    together = model(batch)
    assert together.present["speech"].tolist() == [True, True, False, True]
    assert (together.logits[2] == 0).all()
    for i, length in enumerate(lengths):
        if length:
            alone = Batch(("x",), wave=batch.wave[i : i + 1, :length], wave_mask=torch.ones(1, length).bool())
            torch.testing.assert_close(model(alone).logits[0], together.logits[i], rtol=1e-4, atol=1e-5)


@kinds
def test_only_the_upper_layers_learn(architecture: dict[str, Any]) -> None:
    model = fe2e(architecture, trained_layers=2).train()
    model(batch_of(16_000, 9_000)).logits.square().sum().backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    layers = {name.partition("layers.")[2][0] for name in moved if "layers." in name}
    assert layers == {"1", "2"}
    assert "encoders.speech.mix" in moved
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert any(".layers.0." in name for name in frozen)
    assert any("conv" in name for name in frozen)


@kinds
def test_saved_it_is_built_again_without_a_hub(architecture: dict[str, Any], tmp_path: Path) -> None:
    model, batch = fe2e(architecture, depth=2, pooling="mean").eval(), batch_of(16_000)
    card = ModelCard(name="x", title="x", licence="none", non_commercial=True, parameters=0)
    labels = LabelSet(("a", "b", "c", "d"))
    save_pretrained(tmp_path / "x", kind="fe2e", model=model, label_set=labels, card=card, precision="int8")
    again = load_pretrained(tmp_path / "x").model
    torch.testing.assert_close(again(batch).logits, model(batch).logits, rtol=0.1, atol=0.02)
    assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in model.parameters())


@kinds
def test_layers_are_those_of_transformers(architecture: dict[str, Any]) -> None:
    if architecture is WHISPER:
        pytest.skip("Whisper's own padding makes its numbers others; see test_whisper.py")
    torch.manual_seed(0)
    tower = PretrainedSpeech(PretrainedSpeechConfig(architecture=architecture)).eval()
    config = AutoConfig.for_model(**architecture)
    theirs = AutoModel.from_config(config).eval()
    own: Any = tower.encoder
    theirs.load_state_dict(own.model.state_dict())
    wave = torch.randn(1, 8000)
    wave = (wave - wave.mean()) / wave.var(unbiased=False).add(1e-7).sqrt()
    with torch.inference_mode():
        states, mask = own.hidden_states(wave, torch.ones(1, 8000).bool())
        expected = theirs(wave, output_hidden_states=True).hidden_states
    assert mask.all()
    assert len(states) == len(expected) == 4
    for state, wanted in zip(states, expected, strict=True):
        torch.testing.assert_close(state, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("changes", "problem"), [
    ({"depth": 4}, r"depth = 4, but .* has 3 layers"),
    ({"trained_layers": 4}, "trained_layers = 4, but 3 layers are used"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["whisper", "wavlm"])
def test_more_layers_than_there_are_are_refused(kind: str, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem):
        fe2e(KINDS[kind], **changes)


def test_an_unknown_kind_of_branch_is_named() -> None:
    with pytest.raises(ConfigError, match=r"speech.kind = 'pretraned': there is cnn, pretrained \(did you mean"):
        MODELS["fe2e"].build({"labels": 4, "speech": {"kind": "pretraned"}})


def test_mesm_asks_with_it_and_selects_in_faces_alone() -> None:
    torch.manual_seed(0)
    faces = {"widths": (4, 6, 8, 10), "stem_blocks": 1, "hidden": 12, "transformer": {"layers": 1, "feedforward": 16}}
    model = MODELS["mesm"].build({
        "labels": 4, "dim": 8, "faces": faces, "speech": {"kind": "pretrained", "architecture": WHISPER},
        "query_modality": "speech", "levels": 1,
    })  # fmt: skip
    batch = batch_of(16_000, 9_000)
    batch = Batch(**{**vars(batch), "faces": torch.randint(0, 256, (2, 2, 3, 48, 48), dtype=torch.uint8),
                     "faces_mask": torch.ones(2, 2).bool()})  # fmt: skip
    output = model.eval()(batch)
    assert output.logits.isfinite().all()
    assert any(name.startswith("faces.selected") for name in output.auxiliary)
    assert not any(name.startswith("speech.") for name in output.auxiliary)
    assert isinstance(model, CountsOperations)
    stages = {(cost.branch, cost.stage) for cost in model.count_operations(batch)}
    assert {("speech", "encoder"), ("speech", "head"), ("faces", "stem")} <= stages


def test_statistics_are_the_mean_and_deviation_where_attention_is_even() -> None:
    pool = AttentiveStatistics(5)
    torch.nn.init.zeros_(pool.score[2].weight)
    sequence, mask = torch.randn(2, 7, 5), torch.ones(2, 7).bool()
    mask[1, 4:] = False
    pooled = pool(sequence, mask)
    for row, valid in ((0, 7), (1, 4)):
        part = sequence[row, :valid]
        torch.testing.assert_close(
            pooled[row], torch.cat((part.mean(0), part.std(0, correction=0))), atol=1e-3, rtol=1e-3
        )


def test_stretches_are_hidden_within_their_bounds() -> None:
    torch.manual_seed(0)
    mel, frames = torch.ones(50, 80, 100), torch.full((50,), 100)
    hidden = hide_stretches(mel, frames, 15, 10) == 0
    columns, rows = hidden.all(1), hidden.all(2)
    assert 0 < int(columns.sum(1).max()) <= 30
    assert 0 < int(rows.sum(1).max()) <= 20
    assert torch.equal(hide_stretches(mel, frames, 0, 0), mel)


def test_steps_are_averaged_over_the_valid_ones() -> None:
    sequence, mask = torch.randn(2, 7, 2, 5), torch.arange(7) < torch.tensor([[7], [5]])
    short, valid = shrunk(sequence, mask, 3)
    assert valid.tolist() == [[True, True, True], [True, True, False]]
    torch.testing.assert_close(short[0, 2], sequence[0, 6])
    torch.testing.assert_close(short[1, 1], sequence[1, 3:5].mean(0))
    torch.testing.assert_close(short[0, 0], sequence[0, :3].mean(0))
    assert not short[1, 2].any()


def test_an_adapter_learns_over_frozen_layers() -> None:
    torch.manual_seed(0)
    model = fe2e(WHISPER, adapter=16, pooling="mean")
    batch = batch_of(16_000, 9_000)
    model(batch).logits.square().sum().backward()
    learns = {name for name, p in model.named_parameters() if p.grad is not None and name.startswith("encoders.")}
    assert {name.split(".")[2] for name in learns} == {"mix", "adapter"}
    assert all(float(model.get_parameter(name).grad.abs().sum()) > 0 for name in learns if "in_proj" not in name)  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="pooling each reads the layers unmixed"):
        fe2e(WHISPER, adapter=16, pooling="each")


@pytest.mark.parametrize("adapter", [None, 16])
@kinds
def test_mmer_reads_the_steps(architecture: dict[str, Any], adapter: int | None) -> None:
    torch.manual_seed(0)
    model = MODELS["mmer"].build({
        "labels": 4, "dim": 8, "heads": 2, "feedforward": 12, "project": 6, "text": None, "characters": ("", "a", "b"),
        "speech": {"kind": "pretrained", "architecture": architecture, "trained_layers": 1, "adapter": adapter},
    }).eval()  # fmt: skip
    assert model.input_needs.sound == "wave"
    batch = batch_of(16_000, 9_000)
    assert batch.wave is not None
    together = model(batch)
    steps = together.auxiliary["ctc.mask"].sum(1).tolist()
    assert steps[0] > steps[1] > 0
    assert together.auxiliary["ctc.logits"].shape[2] == 3
    alone = model(Batch(("x",), wave=batch.wave[1:, :9_000], wave_mask=torch.ones(1, 9_000).bool()))
    torch.testing.assert_close(alone.logits[0], together.logits[1], rtol=1e-4, atol=1e-5)
    again = MODELS["mmer"].build(model.stored_settings().model_dump(mode="json"))
    again.load_state_dict(model.state_dict())


def test_silence_at_the_ends_is_cut_off_and_its_sound_stays() -> None:
    loud = torch.randn(8000, generator=torch.Generator().manual_seed(0)) * 0.3
    wave = torch.zeros(4, 40_000)
    wave[0, 16_000:24_000] = loud  # a second before and after
    wave[1, :8000] = loud  # nothing around
    wave[2] = 1e-4 * torch.randn(40_000)  # soft throughout: nothing to cut
    mask = torch.ones(4, 40_000, dtype=torch.bool)
    mask[1, 8000:] = False
    short, valid = trimmed(wave, mask, 35.0)
    assert valid.sum(1).tolist() == [8000 + 2 * 3200, 8000, 40_000, 40_000]
    assert torch.equal(short[0, 3200:11_200], loud)
    assert torch.equal(short[1, :8000], loud)
    assert torch.equal(short[2], wave[2])
    assert not short[3].any()
    assert (short * ~valid == 0).all()


def test_silence_around_an_utterance_changes_no_answer() -> None:
    torch.manual_seed(0)
    model = fe2e(WHISPER, silence_db=35.0, standardise=True).eval()
    wave = torch.zeros(2, 48_000)
    wave[0, 16_000:32_000] = torch.randn(16_000) * 0.2
    wave[1, :16_000] = wave[0, 16_000:32_000]
    mask = torch.arange(48_000) < torch.tensor([[48_000], [16_000]])
    padded, alone = model(Batch(("a", "b"), wave=wave, wave_mask=mask)).logits
    torch.testing.assert_close(padded, alone, rtol=0.05, atol=0.05)  # 0.2 s of silence are read with it


def test_standardised_values_have_no_mean_and_a_deviation_of_one() -> None:
    torch.manual_seed(0)
    layer = Standardise(5).train()
    scale, shift = torch.rand(5) * 10, torch.randn(5) * 100
    rows = torch.randn(300, 5) * scale + shift
    for some in rows.split([1, 99, 200]):
        layer(some)
    torch.testing.assert_close(layer.mean, rows.mean(0))
    torch.testing.assert_close(layer.variance, rows.var(0, correction=0))
    for _ in range(300):
        layer(torch.randn(64, 5) * scale + shift)
    learned = layer.mean.clone()
    layer(torch.randn(64, 5))
    assert torch.equal(layer.mean, learned), "by then they are decided"
    layer.eval()
    standardised = layer(torch.randn(20_000, 5) * scale + shift)
    assert standardised.mean(0).abs().max() < 0.1
    assert (standardised.std(0) - 1).abs().max() < 0.1
    assert torch.equal(layer(rows[:1])[0], layer(rows)[0]), "who else is in the batch does not matter"


@pytest.mark.parametrize("network", ["fe2e", "ssl-linear"])
def test_clips_without_sound_move_no_mean(network: str) -> None:
    settings = {"architecture": WHISPER, "pooling": "each", "standardise": True, "dropout": 0.0}
    branch = {"dim": 8, "faces": None, "text": None, "speech": {"kind": "pretrained", **settings}}
    model = MODELS[network].build({"labels": 4, **(branch if network == "fe2e" else settings)}).train()
    batch = batch_of(16_000, 16_000, 16_000)
    assert batch.wave is not None
    assert batch.wave_mask is not None
    batch.wave_mask[1] = False
    logits = model(batch).logits
    assert logits.isfinite().all()
    assert not logits[1].any()
    layer = next(module for module in model.modules() if isinstance(module, Standardise))
    encoder = next(module for module in model.modules() if isinstance(module, PretrainedSpeech))
    assert layer.rows == 2
    torch.testing.assert_close(layer.mean, encoder(batch)[0][[0, 2]].mean(0))


@kinds
def test_an_utterance_too_short_for_a_step_is_no_sound(architecture: dict[str, Any]) -> None:
    encoder = PretrainedSpeech(PretrainedSpeechConfig(architecture=architecture, pooling="each")).eval()
    for samples in (1, 100):
        alone = encoder(batch_of(samples))
        kept = encoder.frozen_features(torch.ones(samples))
        assert len(kept) == (0 if alone is None else int(alone[1].sum()))


@kinds
def test_vectors_of_a_frozen_encoder_are_standardised_too(architecture: dict[str, Any]) -> None:
    """A training puts frozen parts in eval mode; what learns means and deviations is none of them."""
    model = fe2e(architecture, pooling="each", standardise=True, dropout=0.0).train()
    rest_frozen_parts(model)
    batch = batch_of(*range(9_000, 17_000, 250))
    model(batch)
    layer = next(module for module in model.modules() if isinstance(module, Standardise))
    vectors = model.encoders["speech"](batch)[0]  # type: ignore[index,operator]
    assert vectors.shape[1] == 2 * 3 * model.encoders["speech"].dim  # type: ignore[index,operator]
    torch.testing.assert_close(layer.mean, vectors.mean(0))
    assert model.eval()(batch).logits.isfinite().all()
