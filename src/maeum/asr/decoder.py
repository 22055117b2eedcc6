"""Whisper's decoder: greedy, several stretches at once, with its rules for timestamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: The decoder's clock: so many seconds from one timestamp to the next.
TIMESTAMP_S = 0.02
#: The first timestamp is at most this late.
_LATEST_START_S = 1.0


@dataclass(frozen=True)
class Symbols:
    """Ids of the tokens that are not text; timestamps have the ids from ``first_timestamp`` on."""

    start: int
    end: int
    transcribe: int
    no_speech: int
    first_timestamp: int
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]


@dataclass(frozen=True)
class Decoded:
    """What was decoded from one stretch. tokens: text and timestamps. log_probs: of each of them."""

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]


class Decoder:
    """A decoder over the encoded sound of a few stretches; it remembers what it has read.

    Args:
        model: `transformers`' WhisperDecoder, whose weights are used.
        encoded: ``(batch, steps, dim)``.
        most: tokens that it reads at most.
    """

    def __init__(self, model: Any, encoded: Tensor, most: int) -> None:
        self.model = model
        self.heads = int(self.model.config.decoder_attention_heads)
        self.sound = [
            (self._split(layer.encoder_attn.k_proj(encoded)), self._split(layer.encoder_attn.v_proj(encoded)))
            for layer in self.model.layers
        ]
        batch, _, dim = encoded.shape
        shape = (len(self.sound), 2, batch, self.heads, most, dim // self.heads)
        self.memory = encoded.new_zeros(shape)
        self.read_so_far = 0
        self.attended: dict[int, Tensor] = {}

    def _split(self, vectors: Tensor) -> Tensor:
        """``(batch, length, dim) -> (batch, heads, length, dim / heads)``."""
        batch, length, dim = vectors.shape
        return vectors.view(batch, length, self.heads, dim // self.heads).transpose(1, 2)

    def read(self, tokens: Tensor, *, attend: bool = False) -> Tensor:
        """Read the next tokens, ``(batch, n)``; logits of what follows each, ``(batch, n, vocabulary)``.

        Args:
            tokens: that follow those that were read before.
            attend: keep each layer's attention to the sound in ``attended``, ``(batch, heads, n, steps)``.
        """
        batch, count = tokens.shape
        begin, until = self.read_so_far, self.read_so_far + count
        hidden = self.model.embed_tokens(tokens) + self.model.embed_positions.weight[begin:until]
        causal = torch.ones(count, until, dtype=torch.bool, device=tokens.device).tril(begin) if count > 1 else None
        for number, layer in enumerate(self.model.layers):
            own = layer.self_attn
            normed = layer.self_attn_layer_norm(hidden)
            keys, values = self.memory[number]
            keys[:, :, begin:until] = self._split(own.k_proj(normed))
            values[:, :, begin:until] = self._split(own.v_proj(normed))
            query = self._split(own.q_proj(normed))
            mixed = F.scaled_dot_product_attention(query, keys[:, :, :until], values[:, :, :until], attn_mask=causal)
            hidden = hidden + own.out_proj(mixed.transpose(1, 2).reshape(batch, count, -1))
            other = layer.encoder_attn
            query = self._split(other.q_proj(layer.encoder_attn_layer_norm(hidden)))
            keys, values = self.sound[number]
            if attend:
                self.attended[number] = (query @ keys.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(-1)
            mixed = F.scaled_dot_product_attention(query, keys, values)
            hidden = hidden + other.out_proj(mixed.transpose(1, 2).reshape(batch, count, -1))
            hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
        self.read_so_far = until
        return F.linear(self.model.layer_norm(hidden), self.model.embed_tokens.weight)


def decode_greedily(decoder: Decoder, symbols: Symbols, prompt: Tensor, ends_s: Tensor, most: int) -> list[Decoded]:
    """The most probable next token, again and again, until each stretch is over.

    A stretch is over at the end token, and at a timestamp behind its sound: what a decoder says about the silence
    behind it is a repetition or made up.

    Args:
        decoder: has read what comes before the prompt.
        symbols: of the vocabulary.
        prompt: the last tokens before the text, ``(batch, n)``.
        ends_s: the length of each stretch's sound, in seconds, ``(batch,)``.
        most: tokens at most.
    """
    rows = len(prompt)
    tokens: list[list[int]] = [[] for _ in range(rows)]
    scores: list[list[float]] = [[] for _ in range(rows)]
    over = [False] * rows
    step = prompt
    for position in range(most):
        logits = decoder.read(step)[:, -1].float()
        logits[:, list(symbols.suppressed)] = -torch.inf
        if position == 0:
            logits[:, list(symbols.suppressed_first)] = -torch.inf
        for row in range(rows):
            if not over[row]:
                _rule_timestamps(logits[row], tokens[row], symbols)
        log_probs = logits.log_softmax(-1)
        best = log_probs.argmax(-1)
        for row, token in enumerate(best.tolist()):
            if over[row]:
                continue
            late = token >= symbols.first_timestamp and (
                (token - symbols.first_timestamp) * TIMESTAMP_S >= float(ends_s[row]) - TIMESTAMP_S
            )
            over[row] = token == symbols.end or (late and bool(tokens[row]))
            if token != symbols.end:
                tokens[row].append(token)
            scores[row].append(float(log_probs[row, token]))
        if all(over):
            break
        step = best.unsqueeze(1)
    return [Decoded(tuple(t), tuple(s)) for t, s in zip(tokens, scores, strict=True)]


def _rule_timestamps(logits: Tensor, before: list[int], symbols: Symbols) -> None:
    """Whisper's rules, in place: timestamps come first, in pairs, never go back, and win when likelier together.

    Args:
        logits: of the next token, ``(vocabulary,)``.
        before: tokens of this stretch so far.
        symbols: of the vocabulary.
    """
    first = symbols.first_timestamp
    if not before:
        logits[:first] = -torch.inf
        logits[first + round(_LATEST_START_S / TIMESTAMP_S) + 1 :] = -torch.inf
        return
    is_time = [token >= first for token in before[-2:]]
    text_ended = is_time == [False, True]
    if text_ended:
        logits[: symbols.end] = -torch.inf  # another text begins, at once or later, or it is over
    elif is_time[-1]:
        logits[first:] = -torch.inf  # a text has begun
    latest = next(token for token in reversed(before) if token >= first)  # the first of all is one
    logits[first : latest if text_ended else latest + 1] = -torch.inf
    log_probs = logits.log_softmax(-1)
    if log_probs[first:].logsumexp(-1) > log_probs[:first].max():
        logits[:first] = -torch.inf
