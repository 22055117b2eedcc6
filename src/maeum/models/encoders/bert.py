"""BERT's encoder (Devlin et al. 2019) in plain PyTorch, with the weights' names of transformers.

Importing transformers' own takes seconds, which whoever wants one answer would wait for. Outputs are the same
(tests/unit/models/encoders/test_bert.py); transformers still reads checkpoints that come from elsewhere.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from maeum.errors import ModelError

_Size = Annotated[int, Field(ge=1, le=1_000_000)]


class BertArchitecture(BaseModel):
    """What of a configuration of transformers decides the network; everything else is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: Literal["bert"]
    vocab_size: _Size = 30_522
    hidden_size: _Size = 768
    num_hidden_layers: Annotated[int, Field(ge=1, le=256)] = 12
    num_attention_heads: Annotated[int, Field(ge=1, le=256)] = 12
    intermediate_size: _Size = 3072
    hidden_act: Literal["gelu"] = "gelu"
    hidden_dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    attention_probs_dropout_prob: float = Field(default=0.1, ge=0, lt=1)
    max_position_embeddings: _Size = 512
    type_vocab_size: _Size = 2
    layer_norm_eps: float = Field(default=1e-12, gt=0, le=1)
    position_embedding_type: Literal["absolute"] = "absolute"


def is_plain_bert(architecture: dict[str, Any]) -> bool:
    """Whether `Bert` is the network of this configuration."""
    try:
        found = BertArchitecture.model_validate(architecture)
    except ValidationError:
        return False
    return found.hidden_size % found.num_attention_heads == 0 and not architecture.get("is_decoder")


class _Embeddings(nn.Module):
    def __init__(self, config: BertArchitecture) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, tokens: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: tokens.shape[1]] + self.token_type_embeddings.weight[0]
        summed: Tensor = self.dropout(self.LayerNorm(self.word_embeddings(tokens) + places))
        return summed


class _SelfAttention(nn.Module):
    def __init__(self, config: BertArchitecture) -> None:
        super().__init__()
        self.heads, self.dropout = config.num_attention_heads, config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor, readable: Tensor) -> Tensor:
        q, k, v = (p(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2) for p in (self.query, self.key, self.value))
        dropout = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(q, k, v, readable[:, None, None, :], dropout)
        return read.transpose(1, 2).flatten(2)


class _Residual(nn.Module):
    """A projection, added to what came before, and normalised."""

    def __init__(self, width: int, config: BertArchitecture) -> None:
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, before: Tensor) -> Tensor:
        added: Tensor = self.LayerNorm(self.dropout(self.dense(hidden)) + before)
        return added


class _Layer(nn.Module):
    def __init__(self, config: BertArchitecture) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": _SelfAttention(config), "output": _Residual(config.hidden_size, config)}
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.intermediate_size)})
        self.output = _Residual(config.intermediate_size, config)

    def forward(self, hidden: Tensor, readable: Tensor) -> Tensor:
        hidden = self.attention["output"](self.attention["self"](hidden, readable), hidden)
        out: Tensor = self.output(F.gelu(self.intermediate["dense"](hidden)), hidden)
        return out


class Bert(nn.Module):
    """BERT without its pooler: ``tokens (batch, length)``, ``readable (batch, length)`` -> ``(batch, length, width)``.

    Args:
        architecture: a configuration of transformers as plain data.

    Raises:
        ModelError: when it describes no such network.
    """

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        if not is_plain_bert(architecture):
            raise ModelError("this architecture is no BERT that is built here", item=architecture.get("model_type"))
        config = BertArchitecture.model_validate(architecture)
        self.embeddings = _Embeddings(config)
        self.width = config.hidden_size
        layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.encoder = nn.ModuleDict({"layer": layers})
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor, readable: Tensor) -> Tensor:
        """See the class; readable: which tokens are attended to, bool, at least one in each row."""
        hidden = self.embeddings(tokens)
        layers = self.encoder["layer"]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            hidden = layer(hidden, readable)
        result: Tensor = hidden
        return result


def bert_of(model: nn.Module, architecture: dict[str, Any]) -> Bert:
    """Transformers' BERT as one of ours, with the same weights; raises ModelError where they do not fit."""
    own = Bert(architecture)
    weights = {name: tensor for name, tensor in model.state_dict().items() if "position_ids" not in name}
    try:
        own.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError("the weights do not fit their configuration", item=architecture.get("model_type")) from error
    return own.to(torch.float32)
