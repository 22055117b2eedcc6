"""Checkpoints with the names of the published FE2E and MESM code, made ours."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from maeum.errors import ModelError
from maeum.files import check_regular
from maeum.models.branches import BranchConfig, TransformerConfig
from maeum.models.encoders.text import TextConfig
from maeum.models.fe2e import FE2E, FE2EConfig
from maeum.models.mesm import MESM, MESMConfig
from maeum.models.stored_weights import unreadable_reason

#: Published prefix and our name of each branch, in the published order of the fusion weights.
_BRANCHES = (("t", "text"), ("v", "faces"), ("a", "speech"))
_DENSE_BLOCKS = {"6": "0", "8": "1", "10": "2"}
_SPARSE_PARTS = {"0": "conv1", "1": "bn1", "2": "conv2", "3": "bn2"}
_ATTENTION = {"channel_affine": "map", "y_affine": "query", "attn_weight_affine": "score"}
_TEXT_ENCODER = "T.albert."
_OURS_TEXT = "encoders.text.model."
#: Of the published text encoder, what its summary does not depend on.
_UNUSED_TEXT = ("pooler.", "embeddings.position_ids")


def load_published(
    checkpoint: Path | Mapping[str, Tensor], text: TextConfig | None, *, top_p: float = 0.7, heads: int = 4
) -> FE2E | MESM:
    """A network with a published checkpoint's weights, in eval mode.

    Sizes are read off the shapes; the published networks have no positional encoding.

    Args:
        checkpoint: a file written by ``torch.save`` (read without running code from it) or its state dict.
        text: the text encoder to build. Its weights are taken from the checkpoint where that has them (``T.albert.*``),
            else they are whatever ``text`` builds. None leaves the text branch out.
        top_p: MESM's attention mass, which checkpoints do not hold.
        heads: attention heads of the transformers, which checkpoints do not hold either.

    Returns:
        FE2E, or MESM when the checkpoint has attention layers.

    Raises:
        ModelError: when it cannot be read, a name is unknown, or something is missing.
    """
    state = read_checkpoint(checkpoint) if isinstance(checkpoint, Path) else dict(checkpoint)
    config = _infer_config(state, text, top_p, heads)
    model = MESM(config) if isinstance(config, MESMConfig) else FE2E(config)
    converted = convert(state)
    if text is None:
        converted = {k: v for k, v in converted.items() if not k.startswith(("heads.text", "encoders.text"))}
        converted["fusion.weight"] = converted["fusion.weight"][:, :2]
    outcome = model.load_state_dict(converted, strict=False)
    has_text = any(name.startswith(_OURS_TEXT) for name in converted)
    allowed = ("absent_text",) if has_text else ("encoders.text.", "absent_text")
    missing = [k for k in outcome.missing_keys if not k.startswith(allowed) and not k.endswith("num_batches_tracked")]
    if missing or outcome.unexpected_keys:
        raise ModelError(
            f"is not a whole published checkpoint: missing {missing[:3]}, unexpected {outcome.unexpected_keys[:3]}",
            item="checkpoint",
        )
    return model.eval()


def convert(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under our names and in our layouts.

    Raises:
        ModelError: on a name that the published code does not use.
    """
    return {new: tensor for name, old in state.items() for new, tensor in _convert_one(name, old)}


def _convert_one(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    if name == "weighted_fusion.weight":
        ours = [branch for _, branch in _BRANCHES]
        order = [ours.index(m) for m in ("faces", "speech", "text")]
        return [("fusion.weight", tensor[:, order])]
    if name.startswith(_TEXT_ENCODER):
        rest = name.removeprefix(_TEXT_ENCODER)
        return [] if rest.startswith(_UNUSED_TEXT) else [(_OURS_TEXT + rest, tensor)]
    head, _, rest = name.partition(".")
    prefix, _, part = head.partition("_")
    branch = dict(_BRANCHES).get(prefix.lower())
    if branch is None:
        raise ModelError(f"unknown name {name!r}", item="published checkpoint")
    if part == "out":
        return [(f"heads.{branch}.{rest}", tensor)]
    if part == "flatten":
        index, leaf = rest.split(".")
        return [(f"encoders.{branch}.project.{ {'0': 1, '2': 4}[index] }.{leaf}", tensor)]
    if part == "transformer":
        if rest == "cls_emb.weight":
            return [(f"sequences.{branch}.cls", tensor.unsqueeze(0))]
        return [(f"sequences.{branch}.{rest.replace('encoder.', 'transformer.', 1)}", tensor)]
    return [(f"encoders.{branch}.{new}", t) for new, t in _convert_cnn(name, rest, tensor)]


def _convert_cnn(name: str, rest: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    if match := re.fullmatch(r"(?:low_level\.)?([0145])\.(.+)", rest):
        return [(f"stem.{match[1]}.{match[2]}", tensor)]
    if match := re.fullmatch(r"(6|8|10)\.(.+)", rest):
        return [(f"blocks.{_DENSE_BLOCKS[match[1]]}.{match[2]}", tensor)]
    if match := re.fullmatch(r"sparse_layers\.(\d)\.0\.([0-3])\.(\w+)", rest):
        new = f"blocks.{match[1]}.{_SPARSE_PARTS[match[2]]}.{match[3]}"
        if tensor.ndim == 4:  # (9, 1, in, out), offset = 3 * row + column
            _, _, ins, outs = tensor.shape
            tensor = tensor.view(3, 3, ins, outs).permute(3, 2, 0, 1).contiguous()
        return [(new, tensor)]
    if match := re.fullmatch(r"attn_layers\.(\d)\.(\w+)\.(weight|bias)", rest):
        if match[2] == "attn_weight_affine" and match[3] == "bias":
            return []  # a constant before a softmax
        return [(f"attention.{match[1]}.{_ATTENTION[match[2]]}.{match[3]}", tensor)]
    raise ModelError(f"unknown name {name!r}", item="published checkpoint")


def _infer_config(
    state: Mapping[str, Tensor], text: TextConfig | None, top_p: float, heads: int
) -> FE2EConfig | MESMConfig:
    try:
        sparse = any("attn_layers" in name for name in state)
        layers = 1 + max(int(m[1]) for n in state if (m := re.match(r"v_transformer\.encoder\.layers\.(\d+)\.", n)))
        labels, dim = state["v_out.weight"].shape
        transformer = TransformerConfig(
            layers=layers,
            heads=heads,
            feedforward=len(state["v_transformer.encoder.layers.0.linear1.weight"]),
            positions=False,
        )
        shared: dict[str, Any] = {
            "labels": labels,
            "dim": dim,
            "faces": _infer_branch(state, "V", sparse, transformer),
            "speech": _infer_branch(state, "A", sparse, transformer),
            "text": text,
        }
    except (KeyError, ValueError) as error:
        raise ModelError(f"is not a published checkpoint: {error} is missing", item="checkpoint") from error
    if not sparse:
        return FE2EConfig(**shared)
    return MESMConfig(**shared, top_p=top_p, selection="published", scoring="additive", levels=1)


def _infer_branch(
    state: Mapping[str, Tensor], prefix: str, sparse: bool, transformer: TransformerConfig
) -> BranchConfig:
    if sparse:
        widths = [len(state[f"{prefix}.low_level.0.weight"])]
        widths += [state[f"{prefix}.sparse_layers.{i}.0.0.weight"].shape[-1] for i in range(3)]
    else:
        widths = [len(state[f"{prefix}.0.bias"])]
        widths += [len(state[f"{prefix}.{i}.conv1.bias"]) for i in ("6", "8", "10")]
    hidden = len(state[f"{prefix.lower()}_flatten.0.weight"])
    return BranchConfig(widths=tuple(widths), hidden=hidden, transformer=transformer)  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state dict in a file written by ``torch.save``, read without running code from it; raises ModelError."""
    check_regular(path, ModelError)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError("no such file", item=path) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"cannot be read as a checkpoint: {unreadable_reason(error)}", item=path) from error
    except pickle.UnpicklingError as error:
        raise ModelError(f"cannot be read safely: {unreadable_reason(error)}", item=path) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError("holds no state dict of tensors", item=path)
    return state
