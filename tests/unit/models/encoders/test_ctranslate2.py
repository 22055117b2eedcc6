from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration

from maeum.errors import ModelError
from maeum.models.encoders.ctranslate2 import read_whisper
from maeum.models.encoders.whisper import WhisperEncoder, log_mel

SIZES: dict[str, Any] = {
    "d_model": 16, "vocab_size": 40, "num_mel_bins": 8, "max_source_positions": 30, "max_target_positions": 12,
    "encoder_layers": 2, "decoder_layers": 3, "encoder_attention_heads": 2, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 20,
}  # fmt: skip
SPECIAL = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 4}


@pytest.fixture(scope="module")
def model() -> WhisperForConditionalGeneration:
    torch.manual_seed(0)
    return WhisperForConditionalGeneration(WhisperConfig(**SIZES, **SPECIAL)).eval()


def as_variables(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What CTranslate2's own converter makes of transformers' weights, written down independently of the reader."""
    found: dict[str, Any] = {}

    def linear(name: str, sources: list[str]) -> None:
        found[f"{name}/weight"] = torch.cat([state[f"{s}.weight"] for s in sources])
        biases = [state.get(f"{s}.bias", torch.zeros(len(state[f"{s}.weight"]))) for s in sources]
        found[f"{name}/bias"] = torch.cat(biases)

    def norm(name: str, source: str) -> None:
        found[f"{name}/gamma"], found[f"{name}/beta"] = state[f"{source}.weight"], state[f"{source}.bias"]

    for conv in ("conv1", "conv2"):
        linear(f"encoder/{conv}", [f"model.encoder.{conv}"])
    found["decoder/embeddings/weight"] = state["model.decoder.embed_tokens.weight"]
    for side, layers in (("encoder", 2), ("decoder", 3)):
        found[f"{side}/num_heads"] = np.int16(SIZES[f"{side}_attention_heads"])
        found[f"{side}/position_encodings/encodings"] = state[f"model.{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
        for i in range(layers):
            ours, theirs = f"{side}/layer_{i}", f"model.{side}.layers.{i}"
            attention = f"{theirs}.self_attn"
            linear(f"{ours}/self_attention/linear_0", [f"{attention}.{p}_proj" for p in "qkv"])
            linear(f"{ours}/self_attention/linear_1", [f"{attention}.out_proj"])
            norm(f"{ours}/self_attention/layer_norm", f"{theirs}.self_attn_layer_norm")
            if side == "decoder":
                attention = f"{theirs}.encoder_attn"
                linear(f"{ours}/attention/linear_0", [f"{attention}.q_proj"])
                linear(f"{ours}/attention/linear_1", [f"{attention}.k_proj", f"{attention}.v_proj"])
                linear(f"{ours}/attention/linear_2", [f"{attention}.out_proj"])
                norm(f"{ours}/attention/layer_norm", f"{theirs}.encoder_attn_layer_norm")
            linear(f"{ours}/ffn/linear_0", [f"{theirs}.fc1"])
            linear(f"{ours}/ffn/linear_1", [f"{theirs}.fc2"])
            norm(f"{ours}/ffn/layer_norm", f"{theirs}.final_layer_norm")
    return found


def as_file(variables: Mapping[str, Any], kind: str = "float16", specification: str = "WhisperSpec") -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    numbers = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    parts = [struct.pack("<I", 6), text(specification), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        array = value.detach().numpy().astype(kind) if isinstance(value, Tensor) else np.asarray(value)
        shape = struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)
        parts += [text(name), shape, struct.pack("<BI", numbers[str(array.dtype)], array.nbytes), array.tobytes()]
    alias = text("decoder/projection/weight") + text("decoder/embeddings/weight")
    return b"".join([*parts, struct.pack("<I", 1), alias])


@pytest.fixture
def path(model: WhisperForConditionalGeneration, tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(as_file(as_variables(model.state_dict()), "float32"))
    return path


def test_a_whisper_of_ctranslate2_is_that_of_transformers(model: WhisperForConditionalGeneration, path: Path) -> None:
    settings, weights = read_whisper(path)
    assert settings == {"model_type": "whisper", **SIZES}
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    again = WhisperForConditionalGeneration(WhisperConfig(**SIZES, **SPECIAL)).eval()
    again.load_state_dict(weights)
    mel, tokens = torch.randn(1, 8, 60), torch.tensor([[4, 7, 9]])
    with torch.inference_mode():
        torch.testing.assert_close(
            again(mel, decoder_input_ids=tokens).logits, model(mel, decoder_input_ids=tokens).logits
        )


def test_half_precision_is_read_as_it_is(model: WhisperForConditionalGeneration, path: Path) -> None:
    path.write_bytes(as_file(as_variables(model.state_dict())))
    _, weights = read_whisper(path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(weights[name], tensor.half().float())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.7, 0.9999])
def test_a_file_that_was_cut_is_refused(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"model\.bin: cannot be read as a model of CTranslate2: .* at byte"):
        read_whisper(path)


def test_what_is_no_whisper_of_ctranslate2_is_refused(model: WhisperForConditionalGeneration, path: Path) -> None:
    variables = as_variables(model.state_dict())
    path.write_bytes(as_file(variables, specification="TransformerSpec"))
    with pytest.raises(ModelError, match="is a TransformerSpec in version 6 of CTranslate2's format"):
        read_whisper(path)
    path.write_bytes(as_file({n: v for n, v in variables.items() if n != "encoder/layer_1/ffn/linear_0/weight"}))
    with pytest.raises(ModelError, match=r"holds no complete Whisper model .*encoder/layer_1/ffn/linear_0/weight"):
        read_whisper(path)
    path.write_bytes(as_file(variables, "int8"))
    with pytest.raises(ModelError, match="has type int8"):
        read_whisper(path)
    path.write_bytes(as_file(variables) + b"x")
    with pytest.raises(ModelError, match="1 bytes too many"):
        read_whisper(path)
    for start in (b"", b"\0" * 100, b"\xff" * 100, b"PK\3\4" * 30):
        path.write_bytes(start)
        with pytest.raises(ModelError):
            read_whisper(path)


def test_the_encoder_equals_that_of_ctranslate2(fetched: Callable[[str], Path], tmp_path: Path) -> None:
    """On the real weights, where both are at hand: within what float32 sums in another order differ."""
    ctranslate2 = pytest.importorskip("ctranslate2")
    folder = fetched("whisper-base")
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    known = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab(with_added_tokens=True)
    names = {number: token for token, number in known.items()}
    vocabulary = [names.get(i, f"<|{i}|>") for i in range(51_865)]
    (tmp_path / "vocabulary.json").write_text(json.dumps(vocabulary))
    theirs = ctranslate2.models.Whisper(str(tmp_path), compute_type="float32", intra_threads=1)
    wave = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (1, 480_000)).astype(np.float32))
    mel, _ = log_mel(wave, torch.tensor([480_000]), 80)
    expected = np.array(theirs.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel.numpy()))))
    encoder = WhisperEncoder("whisper-base", None)
    with torch.inference_mode():
        states, _ = encoder.hidden_states(wave, torch.ones(1, 480_000, dtype=torch.bool))
        found = encoder.model.layer_norm(states[-1]).numpy()
    assert np.abs(found - expected).max() < 1e-3
