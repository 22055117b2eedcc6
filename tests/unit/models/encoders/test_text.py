from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from transformers import AlbertConfig, AutoModel, BertConfig, DistilBertConfig, RobertaConfig

from maeum.config import Config
from maeum.errors import ConfigError, ModelError
from maeum.models.encoders import hub
from maeum.models.encoders.text import HubTextConfig, SmallTextConfig, TextConfig, build_text_encoder
from maeum.models.fe2e import FE2E, FE2EConfig
from maeum.types import Batch
from margins import Margin

torch.set_num_threads(1)
VOCABULARY = 50
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24, "max_position_embeddings": 40}  # fmt: skip
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "albert": AlbertConfig(**SIZES, embedding_size=8).to_dict(),
    "bert": BertConfig(**SIZES).to_dict(),
    "roberta": RobertaConfig(**SIZES, pad_token_id=1).to_dict(),
    "distilbert": DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=40
    ).to_dict(),
}
CONFIGS: dict[str, SmallTextConfig | HubTextConfig] = {
    "small": SmallTextConfig(vocabulary=VOCABULARY, width=12, channels=10, dim=14),
    "small, recurrent": SmallTextConfig(vocabulary=VOCABULARY, width=12, recurrent=6, windows=(2, 5), dim=14),
    **{name: HubTextConfig(architecture=data) for name, data in ARCHITECTURES.items()},
}


def tokens_of(lengths: list[int], padded_to: int, pad: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    tokens = torch.full((len(lengths), padded_to), pad)
    mask = torch.zeros(len(lengths), padded_to, dtype=torch.bool)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.randint(2, VOCABULARY, (length,), generator=generator)
        mask[row, :length] = True
    return tokens, mask


@pytest.fixture(params=CONFIGS)
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build_text_encoder(CONFIGS[request.param]).eval()


@torch.no_grad()
def test_shape_padding_and_neighbours_do_not_matter(encoder: nn.Module) -> None:
    tokens, mask = tokens_of([7, 1, 4], 7)
    alone = [encoder(tokens[i : i + 1, :n], mask[i : i + 1, :n])[0] for i, n in enumerate((7, 1, 4))]
    assert alone[0].shape == (encoder.dim,)
    longer, longer_mask = tokens_of([7, 1, 4], 23)
    torch.testing.assert_close(encoder(longer, longer_mask), torch.stack(alone), atol=1e-5, rtol=1e-4)
    assert (alone[0] - alone[2]).abs().max() > 1e-4


@torch.no_grad()
def test_what_lies_under_the_padding_does_not_matter(encoder: nn.Module) -> None:
    if "roberta" in type(getattr(encoder, "model", encoder)).__name__.lower():
        pytest.skip("RoBERTa counts positions by the padding token itself")
    tokens, mask = tokens_of([3, 6], 6)
    other = tokens.clone()
    other[0, 3:] = 9
    torch.testing.assert_close(encoder(other, mask), encoder(tokens, mask), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_rows_without_a_token_are_zero_and_others_unmoved(encoder: nn.Module) -> None:
    tokens, mask = tokens_of([0, 5, 0], 5)
    output = encoder(tokens, mask)
    assert torch.equal(output[[0, 2]], torch.zeros(2, encoder.dim))
    torch.testing.assert_close(output[1:2], encoder(tokens[1:2], mask[1:2]), atol=1e-5, rtol=1e-4)
    assert torch.equal(encoder(tokens[:1], mask[:1]), torch.zeros(1, encoder.dim))


def test_every_parameter_learns(encoder: nn.Module) -> None:
    encoder.train()
    tokens, mask = tokens_of([9, 3, 0], 9)
    encoder(tokens, mask).square().sum().backward()
    without = [
        name for name, p in encoder.named_parameters() if p.grad is None or not bool(torch.isfinite(p.grad).all())
    ]
    assert without == []


def test_order_of_words_is_read(encoder: nn.Module) -> None:
    tokens, mask = tokens_of([6], 6)
    with torch.no_grad():
        assert (encoder(tokens, mask) - encoder(tokens.flip(1), mask)).abs().max() > 1e-5


def test_config_of_an_encoder_builds_it_again(encoder: nn.Module) -> None:
    stored = HolderConfig(text=encoder.config).model_dump_json()
    again = build_text_encoder(HolderConfig.model_validate_json(stored).text).eval()
    again.load_state_dict(encoder.state_dict())
    tokens, mask = tokens_of([7, 2], 7)
    with torch.no_grad():
        assert torch.equal(again(tokens, mask), encoder(tokens, mask))


class HolderConfig(Config):
    text: TextConfig


def test_kind_decides_which_configuration_is_read() -> None:
    assert isinstance(HolderConfig.parse({"text": {"kind": "small"}}).text, SmallTextConfig)
    assert isinstance(HolderConfig.parse({"text": {"kind": "hub", "pretrained": "x"}}).text, HubTextConfig)
    with pytest.raises(ConfigError):
        HolderConfig.parse({"text": {"kind": "large"}})


def test_pretrained_weights_come_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    architecture = BertConfig(**SIZES)
    published = AutoModel.from_config(architecture, add_pooling_layer=False).eval()
    published.save_pretrained(str(tmp_path))
    encoder = build_text_encoder(HubTextConfig(pretrained=str(tmp_path))).eval()
    tokens, mask = tokens_of([5, 3], 5)
    with torch.no_grad():
        expected = published(input_ids=tokens, attention_mask=mask.long()).last_hidden_state[:, 0]
        torch.testing.assert_close(encoder(tokens, mask), expected)
    assert encoder.config.pretrained is None
    assert encoder.dim == 16


def test_more_tokens_than_positions_is_an_error() -> None:
    encoder = build_text_encoder(CONFIGS["roberta"])
    encoder(*tokens_of([38], 38))
    with pytest.raises(ModelError, match="39 tokens"):
        encoder(*tokens_of([39], 39))


def test_a_hub_model_out_of_reach_fails_at_once_and_says_how(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A port that nobody listens on: what a machine without network meets, wherever the tests run.
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"nobody/no-such-encoder.*not in the local cache.*hf download"):
        build_text_encoder(HubTextConfig(pretrained="nobody/no-such-encoder"))
    assert time.monotonic() - started < 10


def test_hub_out_of_reach_without_the_offline_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    assert not hub.hub_answers()


def test_folders_that_hold_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no usable text encoder"):
        build_text_encoder(HubTextConfig(pretrained=str(tmp_path)))
    with pytest.raises(ModelError, match="no such folder"):
        build_text_encoder(HubTextConfig(pretrained=str(tmp_path / "missing")))


def test_configurations_that_say_too_little() -> None:
    for data in ({}, {"architecture": {"hidden_size": 3}}, {"pretrained": "x", "architecture": ARCHITECTURES["bert"]}):
        with pytest.raises(ValidationError):
            HubTextConfig(**data)
    with pytest.raises(ModelError, match="no-such-kind"):
        build_text_encoder(HubTextConfig(architecture={"model_type": "no-such-kind"}))


@pytest.mark.trains
def test_small_encoder_learns_the_order_of_words_through_fe2e(margin: Margin) -> None:
    # Class 1 iff token 7 stands directly before token 8: needs a window of two, no single word tells.
    torch.manual_seed(0)
    tokens = torch.randint(2, 12, (256, 6))
    tokens[:128, 2], tokens[:128, 3] = 7, 8
    target = ((tokens[:, :-1] == 7) & (tokens[:, 1:] == 8)).any(1).long()
    text = SmallTextConfig(
        vocabulary=12, width=16, channels=16, dim=16, token_dropout=0, embedding_dropout=0, summary_dropout=0
    )
    model = FE2E(FE2EConfig(labels=2, faces=None, speech=None, text=text))
    batch = Batch(ids=tuple(map(str, range(256))), tokens=tokens, tokens_mask=torch.ones_like(tokens, dtype=torch.bool))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch).logits, target).backward()
        optimizer.step()
    # 1.0 on each of 6 seeds, two vector units.
    margin("accuracy", float((model(batch).logits.argmax(1) == target).float().mean()), above=0.98)


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert"])
def test_only_the_upper_layers_learn_and_the_text_is_dropped_out(name: str) -> None:
    torch.manual_seed(0)
    encoder = build_text_encoder(HubTextConfig(architecture=ARCHITECTURES[name], trained_layers=1, dropout=0.5)).train()
    tokens = tokens_of([5, 3], 5)
    out = encoder(*tokens)
    assert (out == 0).any(), "some values are dropped"
    assert (encoder.eval()(*tokens) != 0).all()
    out.square().sum().backward()
    learned = {n for n, p in encoder.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert learned
    assert all("layer.1." in n for n in learned)


def test_more_trained_layers_than_there_are_is_an_error() -> None:
    with pytest.raises(ModelError, match="has 2 layers"):
        build_text_encoder(HubTextConfig(architecture=ARCHITECTURES["bert"], trained_layers=3))
