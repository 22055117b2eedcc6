"""Text encoders: any Hugging Face encoder, or the small one that ships."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ModelError
from maeum.models.encoders.bert import Bert, bert_of, is_plain_bert
from maeum.models.encoders.hub import architecture, check_source, fetch, place, whole
from maeum.wording import counted

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class SmallTextConfig(Config):
    """The small text encoder, trained from nothing on the corpus at hand."""

    kind: Literal["small"] = "small"
    """Which encoder: this one."""
    vocabulary: int = Field(default=8000, ge=1, le=1_000_000)
    """How many subwords it knows; not fewer than its tokenizer has."""
    width: int = Field(default=100, ge=1, le=16_384)
    """Width of a subword's vector."""
    recurrent: int = Field(default=0, ge=0, le=16_384)
    """Hidden size of each direction of a GRU over the vectors; 0 has none."""
    windows: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (1, 2, 3)
    """How many subwords each family of convolutions spans."""
    channels: int = Field(default=100, ge=1, le=16_384)
    """Channels of each family of convolutions."""
    pools: int = Field(default=4, ge=0, le=256)
    """Learned averages over the subwords."""
    dim: int = Field(default=128, ge=1, le=16_384)
    """Width of the summary."""
    token_dropout: float = Field(default=0.15, ge=0, lt=1)
    """Share of whole subwords left out while training."""
    embedding_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout of the vectors while training."""
    summary_dropout: float = Field(default=0.5, ge=0, lt=1)
    """Dropout before and after the summary's layer while training."""


class HubTextConfig(Config):
    """A text encoder of transformers."""

    kind: Literal["hub"] = "hub"
    """Which encoder: one of the hub."""
    pretrained: str | None = None
    """Name on the hub, or folder, that architecture and weights come from."""
    architecture: dict[str, Any] | None = None
    """Its configuration as plain data, with ``model_type``. Alone, it makes an encoder without weights, which is how a
    trained model is built again without network."""
    pooling: Literal["first", "mean"] = "first"
    """What sums a text up: the last hidden state of its first token, or the mean over its tokens."""
    trained_layers: int | None = Field(default=None, ge=0, le=256)
    """So many of its layers, from above, learn; the others and the vectors of the vocabulary are frozen. null trains
    everything."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of the text's vector while training."""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        check_source(self.pretrained, self.architecture, "text encoder", such_as="albert")
        return self


TextConfig = Annotated[SmallTextConfig | HubTextConfig, Field(discriminator="kind")]


def build_text_encoder(config: SmallTextConfig | HubTextConfig) -> SmallTextEncoder | HubTextEncoder:
    """The encoder of a configuration, ``(tokens (batch, length) int64, mask (batch, length) bool) -> (batch, dim)``.

    Its ``dim`` is the summary's width; its ``config`` builds it again without a network. A row without any valid
    token gives zeros.

    Raises:
        ModelError: when a pretrained encoder cannot be had, or an architecture is unknown.
    """
    return SmallTextEncoder(config) if isinstance(config, SmallTextConfig) else HubTextEncoder(config)


def build_text_reader(config: SmallTextConfig | HubTextConfig) -> TokenEmbedder | HubTextEncoder:
    """What gives a vector of each token, ``width`` wide, by ``sequence(tokens, mask)``; see `build_text_encoder`."""
    return TokenEmbedder(config) if isinstance(config, SmallTextConfig) else HubTextEncoder(config)


class TokenEmbedder(nn.Module):
    """Vectors of subwords, and a GRU over them where the settings have one."""

    def __init__(self, config: SmallTextConfig) -> None:
        super().__init__()
        self.config = config
        self.longest: int | None = None
        self.vocabulary: int | None = config.vocabulary
        self.width = config.width
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.recurrent: nn.GRU | None = None
        if config.recurrent:
            self.recurrent = nn.GRU(config.width, config.recurrent, batch_first=True, bidirectional=True)
            self.width = 2 * config.recurrent

    def sequence(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """A vector of each subword in its context, ``(batch, length, width)``, zero where padded."""
        vectors = self._drop(self.embedding(tokens)) * mask.unsqueeze(2)
        return vectors if self.recurrent is None else self._read_both_ways(self.recurrent, vectors, mask)

    def _drop(self, vectors: Tensor) -> Tensor:
        """While training, drop whole subwords, whole channels of a text and single values."""
        if not self.training:
            return vectors
        keep = torch.rand(*vectors.shape[:2], 1, device=vectors.device) >= self.config.token_dropout
        channels = F.dropout(vectors.new_ones(len(vectors), 1, vectors.shape[2]), self.config.embedding_dropout)
        return F.dropout(vectors, self.config.embedding_dropout) * channels * keep

    @staticmethod
    def _read_both_ways(recurrent: nn.GRU, vectors: Tensor, mask: Tensor) -> Tensor:
        """The GRU over each text without its padding; ``(batch, length, 2 hidden)``, zero where padded."""
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        read, _ = nn.utils.rnn.pad_packed_sequence(
            recurrent(packed)[0], batch_first=True, total_length=vectors.shape[1]
        )
        return read * mask.unsqueeze(2)


class SmallTextEncoder(TokenEmbedder):
    """The text's summary: vectors of subwords, a GRU where the settings have one, then two kinds of pooling.

    They are the maximum over the text of convolutions of several widths (Kim 2014), beside learned averages.
    """

    def __init__(self, config: SmallTextConfig) -> None:
        super().__init__(config)
        self.dim = config.dim
        self.windows = nn.ModuleList(nn.Linear(size * self.width, config.channels) for size in config.windows)
        self.attention = nn.Linear(self.width, config.pools)
        features = len(config.windows) * config.channels + config.pools * self.width
        self.summary = nn.Sequential(
            nn.Dropout(config.summary_dropout),
            nn.Linear(features, config.dim),
            nn.GELU(),
            nn.Dropout(config.summary_dropout),
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """``tokens (batch, length)``, ``mask (batch, length)`` -> ``(batch, dim)``."""
        present = mask.any(1, keepdim=True)
        vectors = self.sequence(tokens, mask)
        weights = self.attention(vectors).masked_fill(~mask.unsqueeze(2), -1e4).softmax(1)  # (batch, length, pools)
        pooled = [torch.einsum("blp,blw->bpw", weights, vectors).flatten(1)]
        for size, window in zip(self.config.windows, self.windows, strict=True):
            before, after = (size - 1) // 2, size // 2
            around = F.pad(vectors, (0, 0, before, after)).unfold(1, size, 1)  # (batch, length, width, size)
            seen = window(around.flatten(2)).masked_fill(~mask.unsqueeze(2), -1e4)
            pooled.append(F.gelu(seen.amax(1)))
        summary: Tensor = self.summary(torch.cat(pooled, 1))
        return summary * present


class HubTextEncoder(nn.Module):
    """A Hugging Face encoder without its pooler."""

    def __init__(self, config: HubTextConfig) -> None:
        super().__init__()
        self.model, found = _hub_text_model(config)
        self.dim = self.width = self.model.width if isinstance(self.model, Bert) else int(self.model.config.hidden_size)
        self.longest = _longest(found)
        self.vocabulary: int | None = found.get("vocab_size")
        self.config = config.model_copy(update={"pretrained": None, "architecture": found})
        if config.trained_layers is not None:
            self._freeze_below(config.trained_layers)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """``tokens (batch, length)``, ``mask (batch, length)`` -> ``(batch, dim)``; ModelError on too many tokens."""
        vectors = self.sequence(tokens, mask)
        if self.config.pooling == "first":
            summary = vectors[:, 0]
        else:
            summary = vectors.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return F.dropout(summary, self.config.dropout, self.training)

    def _freeze_below(self, trained: int) -> None:
        """Freeze all but so many of the layers; raises ModelError where there are fewer."""
        layers = next((m for m in self.model.modules() if isinstance(m, nn.ModuleList)), nn.ModuleList())
        if trained > len(layers):
            raise ModelError(f"trained_layers = {trained}, but this text encoder has {counted(len(layers), 'layer')}",
                             remedy=f"Give at most {len(layers)}.")  # fmt: skip
        self.model.requires_grad_(False)
        for layer in list(layers)[len(layers) - trained :]:
            layer.requires_grad_(True)

    def sequence(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """A vector of each token in its context, ``(batch, length, width)``, zero where padded; raises ModelError."""
        if self.longest is not None and tokens.shape[1] > self.longest:
            raise ModelError(
                f"a text of {counted(tokens.shape[1], 'token')} is longer than the {self.longest} that this text "
                "encoder reads",
                remedy=f"Train with inputs: {{max_tokens: {self.longest}}}, which cuts what is longer.",
            )
        readable = mask.clone()
        readable[:, 0] |= ~mask.any(1)  # attention over nothing is undefined
        if isinstance(self.model, Bert):
            hidden: Tensor = self.model(tokens, readable)
        else:
            hidden = self.model(input_ids=tokens, attention_mask=readable.long()).last_hidden_state
        return hidden * mask.unsqueeze(2)


def _hub_text_model(config: HubTextConfig) -> tuple[Any, dict[str, Any]]:
    """The encoder, and its configuration as plain data. BERT is built here, others by transformers."""
    if config.architecture is not None and is_plain_bert(config.architecture):
        return Bert(config.architecture), config.architecture
    from transformers import AutoConfig, AutoModel  # takes seconds, and only these encoders need it

    if config.architecture is not None:
        described = architecture(config.architecture, "text encoder")
        model: Any = AutoModel.from_config(  # type: ignore[no-untyped-call]
            described, dtype=torch.float32, **_no_pooler(described)
        )
        return model, _plain(model.config)
    assert config.pretrained is not None
    name = place(config.pretrained)

    def get(local: bool) -> nn.Module:
        found = AutoConfig.from_pretrained(name, local_files_only=local)
        read = AutoModel.from_pretrained(
            name, config=found, local_files_only=local, dtype=torch.float32, output_loading_info=True,
            **_no_pooler(found),
        )  # fmt: skip
        model: nn.Module = whole(read, name, "text encoder")
        return model

    model = fetch(name, "text encoder", get)
    found = _plain(model.config)
    return (bert_of(model, found) if is_plain_bert(found) else model), found


def _plain(config: PreTrainedConfig) -> dict[str, Any]:
    """A configuration as plain data, without the folder that it was read from."""
    return {name: value for name, value in config.to_dict().items() if not name.startswith("_")}


def _no_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """The pooler's output is not used, so its weights would never learn."""
    from transformers import AutoModel

    if type(config) not in AutoModel._model_mapping:
        raise ModelError("transformers knows no encoder of this architecture", item=config.model_type)
    found = AutoModel._model_mapping[type(config)]
    owners = [owner for owner in (found if isinstance(found, tuple) else (found,)) if owner is not None]
    accepted = all("add_pooling_layer" in inspect.signature(owner).parameters for owner in owners)
    return {"add_pooling_layer": False} if accepted else {}


def _longest(architecture: dict[str, Any]) -> int | None:
    """How many tokens fit the learned positions, None without such a bound."""
    positions = architecture.get("max_position_embeddings")
    if positions is None or positions <= 0:
        return None
    starts_after_padding = architecture["model_type"] in ("roberta", "xlm-roberta", "camembert")
    return int(positions) - (int(architecture.get("pad_token_id") or 0) + 1 if starts_after_padding else 0)
