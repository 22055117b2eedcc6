"""Checkpoints with the names of the published MMER code, made ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from maeum.errors import ModelError
from maeum.models.encoders.speech import HubSpeechConfig
from maeum.models.encoders.text import TextConfig
from maeum.models.mmer import MMER, MMERConfig
from maeum.models.published.fe2e import read_checkpoint

#: The symbols of the published CTC head: the characters of facebook/wav2vec2-base-960h; the first is the blank.
CHARACTERS = ("", "", "", "", " ", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")

_OURS = {
    "self_attention_v2.layer.0": "text_over_itself",
    "txt2img_attention.layer.0": "cross.text-over-speech",
    "img2txt_attention.layer.0": "cross.speech-over-text",
    "txt2txt_attention.layer.0": "cross.text-over-text",
    "vismap2text": "speech_as_value",
    "vismap2text_v2": "speech_as_query",
    "gate": "gate",
    "downsample_final": "fuse",
    "classifier.linear3": "head",
    "ctc_linear": "ctc_head",
    "orgin_linear_change": "projection",
    "augment_linear_change": "view_projection",
    "wav2vec2": "encoders.speech.model",
}
_LAYER = {
    "attention.self.": "",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "widen",
    "output.dense": "narrow",
    "output.LayerNorm": "norm2",
}
_WAV2VEC2 = "wav2vec2."
_STRIDES = (5, 2, 2, 2, 2, 2, 2)


def load_published_mmer(
    checkpoint: Path | Mapping[str, Tensor], text: TextConfig, *, heads: int = 12, sees_padding: bool = True
) -> MMER:
    """MMER with a published checkpoint's weights, in eval mode.

    Sizes are read off the shapes. The text encoder is in no checkpoint (the published code reads its outputs from
    files); the step that replaces a missing modality was never trained.

    Args:
        checkpoint: a file written by ``torch.save`` (read without running code from it) or its state dict.
        text: the text encoder to build: roberta-base, whose outputs the published training read.
        heads: of the cross-modal encoders and of wav2vec2, which checkpoints do not hold.
        sees_padding: see `HubSpeechConfig`: True gives the published numbers.

    Raises:
        ModelError: when it cannot be read, a name is unknown, or something is missing.
    """
    state = read_checkpoint(checkpoint) if isinstance(checkpoint, Path) else dict(checkpoint)
    state = {name.removeprefix("model_mmi."): tensor for name, tensor in state.items()}
    try:
        config = _infer_config(state, text, heads, sees_padding)
    except (KeyError, ValueError) as error:
        raise ModelError(f"is not a published checkpoint: {error} is missing", item="checkpoint") from error
    model = MMER(config)
    converted = {new: tensor for name, tensor in state.items() if (new := _convert(name)) is not None}
    outcome = model.load_state_dict(converted, strict=False)
    missing = [k for k in outcome.missing_keys if not k.startswith(("absent.", "encoders.text.", "text_in."))]
    if missing or outcome.unexpected_keys:
        raise ModelError(
            f"is not a whole published checkpoint: missing {missing[:3]}, unexpected {outcome.unexpected_keys[:3]}",
            item="checkpoint",
        )
    return model.eval()


def _convert(name: str) -> str | None:
    """Our name of a published parameter, None of one that nothing depends on; raises ModelError on an unknown one."""
    if name == "weights":  # of wav2vec2's layers, which the published forward does not use
        return None
    prefix = max((p for p in _OURS if name.startswith(f"{p}.")), key=len, default=None)
    if prefix is None:
        raise ModelError(f"unknown name {name!r}", item="published checkpoint")
    rest = name.removeprefix(f"{prefix}.")
    if prefix.endswith("layer.0"):
        part = next((p for p in _LAYER if rest.startswith(p)), None)
        if part is None:
            raise ModelError(f"unknown name {name!r}", item="published checkpoint")
        rest = _LAYER[part] + rest.removeprefix(part)
    return f"{_OURS[prefix]}.{rest}"


def _infer_config(state: Mapping[str, Tensor], text: TextConfig, heads: int, sees_padding: bool) -> MMERConfig:
    from transformers import Wav2Vec2Config

    labels, _ = state["classifier.linear3.weight"].shape
    dim = len(state["vismap2text.bias"])
    convs = [state[f"{_WAV2VEC2}feature_extractor.conv_layers.{i}.conv.weight"] for i in range(len(_STRIDES))]
    layers = 1 + max(int(m[1]) for n in state if (m := re.match(r"wav2vec2\.encoder\.layers\.(\d+)\.", n)))
    positions = state[f"{_WAV2VEC2}encoder.pos_conv_embed.conv.parametrizations.weight.original1"]
    hidden = len(positions)
    characters = len(state["ctc_linear.bias"])
    speech = Wav2Vec2Config(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=len(state[f"{_WAV2VEC2}encoder.layers.0.feed_forward.intermediate_dense.bias"]),
        conv_dim=[len(c) for c in convs],
        conv_kernel=[c.shape[-1] for c in convs],
        conv_stride=list(_STRIDES),
        num_conv_pos_embeddings=positions.shape[-1],
        num_conv_pos_embedding_groups=hidden // positions.shape[1],
    )
    return MMERConfig(
        labels=labels,
        dim=dim,
        heads=heads,
        feedforward=len(state["txt2img_attention.layer.0.intermediate.dense.bias"]),
        speech=HubSpeechConfig(architecture=speech.to_dict(), sees_padding=sees_padding),
        text=text,
        characters=CHARACTERS if characters == len(CHARACTERS) else ("",) * characters,
        project=len(state["orgin_linear_change.0.bias"]),
    )
