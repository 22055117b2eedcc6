"""Whisper's weights from the files of CTranslate2, by the names that transformers gives them.

CTranslate2 (https://github.com/OpenNMT/CTranslate2) writes one file, ``model.bin``, little-endian: the version of the
format, the name and the revision of the model's specification, the number of variables, and of each its name, shape,
type, size and values; at the end names that stand for other variables. Attention's projections of one input lie in one
matrix: queries, keys and values of self-attention, keys and values of attention to the sound.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maeum.errors import ModelError

#: The numbers of types in the file.
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_SPECIFICATION, _FORMATS = "WhisperSpec", (5, 6)
_LONGEST_NAME, _MOST_VARIABLES, _MOST_SIZES = 200, 10_000, 8


@dataclass
class _Reader:
    """A place in the file's bytes."""

    data: memoryview
    path: Path
    at: int = 0

    def number(self, kind: str) -> int:
        size = struct.calcsize(f"<{kind}")
        value: int = struct.unpack(f"<{kind}", self.take(size))[0]
        return value

    def text(self) -> str:
        size = self.number("H")
        if not 0 < size <= _LONGEST_NAME:
            raise self.damaged(f"a name of {size} bytes")
        try:
            return bytes(self.take(size)).rstrip(b"\0").decode("ascii")
        except UnicodeDecodeError as error:
            raise self.damaged("a name that is no text") from error

    def take(self, size: int) -> memoryview:
        if self.at + size > len(self.data):
            raise self.damaged("it ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def damaged(self, why: str) -> ModelError:
        return ModelError(
            f"cannot be read as a model of CTranslate2: {why} at byte {self.at:,}",
            item=self.path,
            remedy="Fetch it again.",
        )


def read_variables(path: Path) -> dict[str, NDArray[Any]]:
    """All variables of a ``model.bin`` by their names in the file, also by those that stand for another.

    Raises:
        ModelError: when the file cannot be read, is damaged, or holds another kind of model.
    """
    try:
        reader = _Reader(memoryview(path.read_bytes()), path)
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}", item=path) from error
    version, specification, _ = reader.number("I"), reader.text(), reader.number("I")
    if version not in _FORMATS or specification != _SPECIFICATION:
        raise ModelError(
            f"is a {specification} in version {version} of CTranslate2's format, not a {_SPECIFICATION} in version "
            f"{' or '.join(map(str, _FORMATS))}",
            item=path,
        )
    variables: dict[str, NDArray[Any]] = {}
    for _ in range(_count(reader)):
        name = reader.text()
        variables[name] = _values(reader, name)
    for _ in range(_count(reader)):
        alias, name = reader.text(), reader.text()
        if name not in variables:
            raise reader.damaged(f"{alias} stands for {name}, which is missing")
        variables[alias] = variables[name]
    if reader.at != len(reader.data):
        raise reader.damaged(f"{len(reader.data) - reader.at:,} bytes too many")
    return variables


def _count(reader: _Reader) -> int:
    count = reader.number("I")
    if count > _MOST_VARIABLES:
        raise reader.damaged(f"{count:,} variables")
    return count


def _values(reader: _Reader, name: str) -> NDArray[Any]:
    sizes = reader.number("B")
    if sizes > _MOST_SIZES:
        raise reader.damaged(f"{name} has {sizes} dimensions")
    shape = tuple(reader.number("I") for _ in range(sizes))
    kind = _TYPES.get(reader.number("B"))
    values = reader.take(reader.number("I"))
    if kind is None or len(values) != int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize:
        raise reader.damaged(f"{name} {list(shape)} in {len(values):,} bytes")
    return np.frombuffer(values, np.dtype(kind).newbyteorder("<")).reshape(shape)


def read_whisper(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A Whisper model of CTranslate2 as one of transformers.

    Args:
        path: ``model.bin`` with float16 or float32 weights.

    Returns:
        Settings of `transformers.WhisperConfig` with ``model_type``, and the float32 weights of
        `transformers.WhisperForConditionalGeneration` by name.

    Raises:
        ModelError: when the file is damaged, holds another model, 8-bit weights, or lacks weights.
    """
    variables = read_variables(path)
    try:
        weights = _weights(variables)
        settings = _settings(variables, weights)
    except (KeyError, ValueError) as error:
        raise ModelError(f"holds no complete Whisper model ({error})", item=path, remedy="Fetch it again.") from error
    return settings, weights


def _settings(variables: Mapping[str, NDArray[Any]], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    vocabulary, width = weights["model.decoder.embed_tokens.weight"].shape
    settings: dict[str, Any] = {
        "model_type": "whisper",
        "d_model": width,
        "vocab_size": vocabulary,
        "num_mel_bins": weights["model.encoder.conv1.weight"].shape[1],
        "max_source_positions": len(weights["model.encoder.embed_positions.weight"]),
        "max_target_positions": len(weights["model.decoder.embed_positions.weight"]),
    }
    for side in ("encoder", "decoder"):
        settings[f"{side}_attention_heads"] = int(variables[f"{side}/num_heads"])
        settings[f"{side}_layers"] = _layers(variables, side)
        settings[f"{side}_ffn_dim"] = len(weights[f"model.{side}.layers.0.fc1.bias"])
    return settings


def _layers(variables: Mapping[str, NDArray[Any]], side: str) -> int:
    found = (re.match(rf"{side}/layer_(\d+)/", name) for name in variables)
    return 1 + max(int(match[1]) for match in found if match)


def _weights(variables: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}

    def put(name: str, source: str, part: int = 0, parts: int = 1) -> None:
        """One of the equal parts into which a matrix's rows are cut."""
        values = variables[source]
        if values.dtype not in (np.float16, np.float32):
            raise ValueError(f"{source} has type {values.dtype}")
        if len(values) % parts:
            raise ValueError(f"{source} has {len(values)} rows")
        rows = len(values) // parts
        weights[f"model.{name}"] = torch.from_numpy(values[part * rows : (part + 1) * rows].astype(np.float32))

    def linear(name: str, source: str, part: int = 0, parts: int = 1, *, bias: bool = True) -> None:
        for own in ("weight", "bias") if bias else ("weight",):
            put(f"{name}.{own}", f"{source}/{own}", part, parts)

    def norm(name: str, source: str) -> None:
        put(f"{name}.weight", f"{source}/gamma")
        put(f"{name}.bias", f"{source}/beta")

    for conv in ("conv1", "conv2"):
        linear(f"encoder.{conv}", f"encoder/{conv}")
    put("decoder.embed_tokens.weight", "decoder/embeddings/weight")
    for side in ("encoder", "decoder"):
        put(f"{side}.embed_positions.weight", f"{side}/position_encodings/encodings")
        norm(f"{side}.layer_norm", f"{side}/layer_norm")
        for number in range(_layers(variables, side)):
            name, source = f"{side}.layers.{number}", f"{side}/layer_{number}"
            for part, projection in enumerate(("q_proj", "k_proj", "v_proj")):
                linear(
                    f"{name}.self_attn.{projection}", f"{source}/self_attention/linear_0", part, 3,
                    bias=projection != "k_proj",  # keys have no bias
                )  # fmt: skip
            linear(f"{name}.self_attn.out_proj", f"{source}/self_attention/linear_1")
            norm(f"{name}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
            if side == "decoder":
                linear(f"{name}.encoder_attn.q_proj", f"{source}/attention/linear_0")
                linear(f"{name}.encoder_attn.k_proj", f"{source}/attention/linear_1", 0, 2, bias=False)
                linear(f"{name}.encoder_attn.v_proj", f"{source}/attention/linear_1", 1, 2)
                linear(f"{name}.encoder_attn.out_proj", f"{source}/attention/linear_2")
                norm(f"{name}.encoder_attn_layer_norm", f"{source}/attention/layer_norm")
            linear(f"{name}.fc1", f"{source}/ffn/linear_0")
            linear(f"{name}.fc2", f"{source}/ffn/linear_1")
            norm(f"{name}.final_layer_norm", f"{source}/ffn/layer_norm")
    weights["proj_out.weight"] = weights["model.decoder.embed_tokens.weight"]
    return weights
