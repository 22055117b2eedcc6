"""What every registered network keeps to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from maeum.data.collate import pad
from maeum.errors import ConfigError, ModelError
from maeum.labels import LabelSet
from maeum.models.card import ModelCard
from maeum.models.encoders.tokenizer import train_tokenizer
from maeum.models.network import (
    CTC_LOGITS,
    BranchesStandAlone,
    ComparesEncodings,
    CountsOperations,
    HasBranches,
    HasFrozenEncoders,
    Network,
    SelectsPositions,
    TranscribesSpeech,
    encodings_name,
    transcriber,
)
from maeum.models.networks import MODELS
from maeum.models.pretrained import load_pretrained, save_pretrained
from maeum.training.losses.base import BatchOutputs
from maeum.types import MODALITIES, Batch
from objectives import loss_of

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
    "ssl-linear": {
        "labels": 5,
        "architecture": {
            "model_type": "whisper", "d_model": 8, "vocab_size": 9, "encoder_layers": 2, "decoder_layers": 1,
            "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12,
            "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 4,
        },
        "trained_layers": 1,
        "hidden": 6,
    },
}  # fmt: skip
TOKENIZER = train_tokenizer(["a few words"] * 4, 50)
pytestmark = pytest.mark.parametrize("name", list(MODELS))


def build(name: str, **settings: object) -> Network:
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
        wave=torch.randn(3, 4000, generator=generator) * 0.1,
        wave_mask=(torch.arange(4000) < torch.tensor([[4000], [2500], [0]])),
        tokens=torch.randint(1, 50, (3, 6), generator=generator),
        tokens_mask=torch.tensor([[1, 1, 1, 1, 0, 0], [0] * 6, [1, 1, 1, 1, 1, 1]]).bool(),
        target=torch.tensor([0, 3, 4]),
    )


def alone(batch: Batch, i: int) -> Batch:
    """Clip i by itself, without padding; modalities that it lacks are absent."""
    fields = {}
    for values, mask in (("faces", "faces_mask"), ("mel_chunks", "mel_chunks_mask"), ("tokens", "tokens_mask"),
                         ("wave", "wave_mask")):  # fmt: skip
        length = int(getattr(batch, mask)[i].sum())
        if length:
            fields[values] = getattr(batch, values)[i : i + 1, :length]
            fields[mask] = getattr(batch, mask)[i : i + 1, :length]
    return Batch(ids=batch.ids[i : i + 1], **fields)


def test_a_clip_does_not_depend_on_padding_or_on_the_rest_of_the_batch(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    together = model(batch)
    for i in range(3):
        if not any(bool(present[i]) for present in together.present.values()):
            with pytest.raises(ModelError):
                model(alone(batch, i))
            continue
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
    loss_of("cross-entropy", modality_weight=1.0)(batch, BatchOutputs(model(batch))).value.backward()
    learning = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert learning
    assert not [n for n, p in learning.items() if p.grad is None or not p.grad.abs().sum() > 0]


def test_saved_and_loaded_it_says_the_same(name: str, tmp_path: Path) -> None:
    model, batch = build(name).eval(), make_batch()
    labels = LabelSet(("a", "b", "c", "d", "e"))
    card = ModelCard(name="x", title="x", licence="none", non_commercial=True, parameters=0)
    save_pretrained(tmp_path / "model", kind=name, model=model, label_set=labels, card=card, tokenizer=TOKENIZER)
    again = load_pretrained(tmp_path / "model")
    assert again.label_set == labels
    torch.testing.assert_close(again.model(batch).logits, model(batch).logits, rtol=1e-5, atol=1e-6)


def test_shares_of_the_modalities_that_a_clip_has_sum_to_one(name: str, tmp_path: Path) -> None:
    card = ModelCard(name="x", title="x", licence="none", non_commercial=True, parameters=0)
    labels = LabelSet(("a", "b", "c", "d", "e"))
    save_pretrained(tmp_path / "model", kind=name, model=build(name), label_set=labels, card=card, tokenizer=TOKENIZER)
    pretrained = load_pretrained(tmp_path / "model")
    fused, own, shares = pretrained.probabilities(pretrained.model(make_batch()))
    torch.testing.assert_close(fused.sum(1), torch.ones(3))
    if not pretrained.model(make_batch()).shares:  # it reads its modalities together only
        assert own == shares == {}
        return
    assert set(own) == set(shares) == {"faces", "speech", "text"}
    torch.testing.assert_close(torch.stack(list(shares.values())).sum(0), torch.ones(3))
    assert [shares[m][1].item() > 0 for m in ("faces", "speech", "text")] == [False, True, False]


@pytest.mark.parametrize("left", ["faces", "speech", "text"])
def test_one_modality_is_enough(name: str, left: str) -> None:
    reads = build(name).modalities
    if left not in reads:
        pytest.skip(f"{name} reads no {left}")
    settings = {m: None for m in reads if m != left}
    model = build(name, **settings).eval()
    output = model(make_batch())
    assert output.logits.shape == (3, 5)
    assert set(output.modality_logits) == set(output.shares) <= {left}
    assert model.modalities == (left,)
    assert output.logits.isfinite().all()


def test_a_clip_with_nothing_gets_zeros(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    for mask in (batch.faces_mask, batch.mel_chunks_mask, batch.tokens_mask):
        assert mask is not None
        mask[2] = False
    assert (model(batch).logits[2] == 0).all()


def test_order_of_frames_matters(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    if "faces" not in model.modalities:
        pytest.skip(f"{name} reads no faces")
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


def test_what_it_declares_holds(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    assert model.modalities == tuple(m for m in MODALITIES if m in model.modalities) != ()
    assert model.input_needs.sound in ("mel_chunks", "wave")
    assert model.input_needs.vocabulary == (50 if "text" in model.modalities else None)
    output = model(batch)
    assert model.auxiliary_names <= set(output.auxiliary)
    assert set(output.present) == set(model.modalities)
    settings = MODELS[name].config.parse(model.stored_settings().model_dump(mode="json"))
    assert settings == model.stored_settings() == MODELS[name].build(settings.model_dump()).stored_settings()


@pytest.mark.parametrize("scales", [False, True])
def test_shares_are_of_the_modalities_that_a_clip_has(name: str, scales: bool) -> None:
    model = build(name).eval()
    model.answers_scales = scales
    output = model(make_batch())
    if not output.shares:
        pytest.skip(f"{name} reads its modalities together only")
    assert set(output.shares) == set(model.modalities)
    torch.testing.assert_close(torch.stack(list(output.shares.values())).sum(0), torch.ones(3))
    for modality, share in output.shares.items():
        assert share.shape == (3,)
        assert ((share > 0) == output.present[modality]).all()


def test_a_branch_that_is_taken_over_answers_as_in_its_source(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    if not isinstance(model, HasBranches):
        pytest.skip(f"{name} has no branches")
    torch.manual_seed(7)
    source = MODELS[name].build(SMALL[name]).eval()
    assert isinstance(source, HasBranches)
    for modality in model.modalities:
        assert source.branch_settings(modality)
        model.take_over_branch(source, modality, 2.0)
        ours, theirs = (net.state_dict() for net in (model, source))
        copied = [n for n in ours if n.startswith(f"encoders.{modality}.") and ours[n].is_floating_point()]
        assert copied
        assert all(torch.equal(ours[n], theirs[n]) for n in copied)
    if not model(batch).modality_logits:
        return
    for modality, logits in source(batch).contributions.items():
        torch.testing.assert_close(model(batch).contributions[modality], logits / 2.0)


def test_branches_that_stand_alone_answer_as_in_the_whole(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    if not isinstance(model, BranchesStandAlone):
        pytest.skip(f"the branches of {name} do not stand alone")
    whole = model(batch)
    stored = model.stored_settings().model_dump(mode="json")
    for wanted in (*((m,) for m in model.modalities), model.modalities[:2]):
        settings, weights = type(model).only_branches(stored, model.state_dict(), wanted)
        alone = MODELS[name].build(settings).eval()
        alone.load_state_dict(weights)
        assert alone.modalities == tuple(wanted)
        for modality, contribution in alone(batch).contributions.items():
            torch.testing.assert_close(contribution, whole.contributions[modality])


def test_its_operations_are_counted(name: str) -> None:
    model = build(name)
    if not isinstance(model, CountsOperations):
        pytest.skip(f"{name} does not count")
    stages = model.count_operations(make_batch())
    assert {stage.branch for stage in stages} == set(model.modalities)
    assert all(stage.done > 0 for stage in stages)


def test_the_positions_that_it_selects_follow_top_p(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    if not isinstance(model, SelectsPositions):
        pytest.skip(f"{name} selects no positions")
    for modality, count in (("faces", 2), ("speech", 3)):
        shares = []
        for top_p in (0.3, 1.0):
            model.top_p = top_p
            selected = model.selected(model(batch), modality)
            assert [len(positions) for positions in selected] == [count] * 3
            shares.append(selected[0].float().mean().item())
        assert shares[0] < shares[1] == 1.0
    maps = model.mel_maps(batch)
    assert maps is not None
    assert len(maps) == 3
    assert model.fixed_selection_reason({}) is None
    assert model.fixed_selection_reason({"selection": "all"})


def test_its_encodings_are_comparable_with_its_own(name: str) -> None:
    model, batch = build(name).eval(), make_batch()
    if not isinstance(model, ComparesEncodings):
        pytest.skip(f"{name} shows no encodings")
    model.check_teacher(build(name))
    for modality, count in (("faces", 2), ("speech", 3)):
        assert model(batch).auxiliary[encodings_name(modality)].shape == (count, 8)
    with pytest.raises(ConfigError):
        model.check_teacher(build("mmer"))


def test_it_transcribes_with_the_characters_of_its_texts(name: str) -> None:
    network = MODELS[name].network
    if not issubclass(network, TranscribesSpeech):
        pytest.skip(f"{name} has no CTC head")
    assert transcriber(build(name)) is None
    model = MODELS[name].build(network.settings_for_texts(SMALL[name], ["a cab", "a bad cab"] * 5)).eval()
    recogniser = transcriber(model)
    assert recogniser is not None
    assert recogniser.characters == ("", " ", "A", "B", "C", "D")
    assert CTC_LOGITS in model.auxiliary_names
    texts = recogniser.transcribe(make_batch())
    assert len(texts) == 3
    assert texts[2] == "", "a clip without speech"


def test_outputs_of_a_frozen_text_encoder_can_be_put_in_its_place(name: str) -> None:
    model, batch = build(name), make_batch()
    if not isinstance(model, HasFrozenEncoders):
        pytest.skip(f"{name} has no encoders to freeze")
    assert model.frozen_text_encoder() is None
    if "freeze_text" not in type(model.stored_settings()).model_fields:
        pytest.skip(f"{name} has no text encoder to freeze")
    model = build(name, freeze_text=True).eval()
    assert isinstance(model, HasFrozenEncoders)
    encoder = model.frozen_text_encoder()
    assert encoder is not None
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert batch.tokens is not None
    assert batch.tokens_mask is not None
    vectors = encoder.eval().sequence(batch.tokens, batch.tokens_mask).detach()
    cached = replace(batch, tokens=torch.zeros_like(batch.tokens), vectors=vectors)
    torch.testing.assert_close(model(cached).logits, model(batch).logits)


def test_outputs_of_a_frozen_speech_encoder_can_be_put_in_its_place(name: str) -> None:
    if not isinstance(build(name), HasFrozenEncoders):
        pytest.skip(f"{name} has no encoders to freeze")
    whisper = {"model_type": "whisper", "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2,
               "encoder_ffn_dim": 24, "num_mel_bins": 16, "max_source_positions": 400}  # fmt: skip
    own = {"architecture": whisper}
    model = build(name, **(own if name == "ssl-linear" else {"speech": {"kind": "pretrained", **own}})).eval()
    assert isinstance(model, HasFrozenEncoders)
    encoder = model.frozen_speech_encoder()
    assert encoder is not None
    assert not any(parameter.requires_grad for parameter in encoder.frozen_part()[0].parameters())
    wave = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    mask = torch.arange(16_000) < torch.tensor([[16_000], [9_000], [0]])
    batch = replace(make_batch(), wave=wave * mask, wave_mask=mask)
    found = [encoder.frozen_features(row[:length]) for row, length in zip(wave, (16_000, 9_000, 0), strict=True)]
    features, features_mask = pad(found)
    cached = replace(batch, sound_features=features, sound_features_mask=features_mask)
    with torch.no_grad():
        changed = replace(cached, wave=cached.wave * 0)  # is not read
        torch.testing.assert_close(model(changed).logits, model(batch).logits, rtol=0, atol=5e-3)
