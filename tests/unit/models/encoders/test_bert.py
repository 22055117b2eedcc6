"""BERT in plain PyTorch is that of transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BertConfig

from maeum.errors import ModelError
from maeum.models.encoders.bert import Bert, bert_of, is_plain_bert
from maeum.models.encoders.text import HubTextConfig, build_text_encoder

CONFIG = BertConfig(vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=20,
                    max_position_embeddings=30, hidden_dropout_prob=0.3)  # fmt: skip


def theirs() -> torch.nn.Module:
    torch.manual_seed(0)
    model: torch.nn.Module = AutoModel.from_config(CONFIG, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # transformers starts with biases of 0, which would hide a mistake
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def test_outputs_and_gradients_are_those_of_transformers() -> None:
    model = theirs()
    own = bert_of(model, CONFIG.to_dict()).eval()
    tokens = torch.randint(0, 50, (3, 11), generator=torch.Generator().manual_seed(1))
    readable = torch.arange(11) < torch.tensor([[11], [1], [6]])
    ours = own(tokens, readable)
    expected = model(input_ids=tokens, attention_mask=readable.long()).last_hidden_state
    for row in range(3):
        torch.testing.assert_close(ours[row][readable[row]], expected[row][readable[row]], rtol=1e-4, atol=1e-5)
    (ours * readable.unsqueeze(2)).square().sum().backward()
    (expected * readable.unsqueeze(2)).square().sum().backward()
    known = dict(model.named_parameters())
    for name, parameter in own.named_parameters():
        torch.testing.assert_close(parameter.grad, known[name].grad, rtol=1e-3, atol=1e-3)
    assert own.state_dict().keys() == model.state_dict().keys() - {"embeddings.position_ids"}


def test_dropout_is_for_training_alone() -> None:
    own = Bert(CONFIG.to_dict()).eval()
    tokens, readable = torch.ones(1, 5, dtype=torch.long), torch.ones(1, 5, dtype=torch.bool)
    assert torch.equal(own(tokens, readable), own(tokens, readable))
    own.train()
    assert not torch.equal(own(tokens, readable), own(tokens, readable))


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"num_attention_heads": 5}, {"model_type": "albert"},
                                    {"position_embedding_type": "relative_key"}, {"is_decoder": True},
                                    {"hidden_size": -1}])  # fmt: skip
def test_other_networks_are_left_to_transformers(change: dict[str, object]) -> None:
    architecture = {**CONFIG.to_dict(), **change}
    assert not is_plain_bert(architecture)
    with pytest.raises(ModelError, match="no BERT"):
        Bert(architecture)


def test_a_checkpoint_becomes_one_of_ours_and_names_no_folder(tmp_path: Path) -> None:
    model = theirs()
    model.save_pretrained(str(tmp_path))  # type: ignore[operator]
    encoder = build_text_encoder(HubTextConfig(pretrained=str(tmp_path), pooling="mean")).eval()
    assert isinstance(encoder.model, Bert)
    assert str(tmp_path) not in str(encoder.config.model_dump())
    tokens, mask = torch.randint(0, 50, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    expected = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state.mean(1)
    torch.testing.assert_close(encoder(tokens, mask), expected, rtol=1e-4, atol=1e-5)


def test_built_from_plain_data_it_needs_no_transformers() -> None:
    code = (
        "import sys; from maeum.models.encoders.text import HubTextConfig, build_text_encoder; "
        "build_text_encoder(HubTextConfig(architecture={'model_type': 'bert', 'vocab_size': 9, 'hidden_size': 8, "
        "'num_attention_heads': 2, 'num_hidden_layers': 1, 'intermediate_size': 8})); "
        "sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
