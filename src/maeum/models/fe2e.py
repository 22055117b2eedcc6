"""FE2E: the fully end-to-end network from face frames, mel chunks and words to emotions.

Dai, Cahyawijaya, Liu, Fung, "Multimodal End-to-End Sparse Model for Emotion Recognition", NAACL 2021, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from maeum.models.branches import (
    BRANCH_PARTS,
    BranchConfig,
    BranchesConfig,
    BranchNetwork,
    TransformerConfig,
    flat_shape,
    map_form,
    projection,
)
from maeum.models.layers import Stem, VGGBlock
from maeum.models.network import BranchesStandAlone
from maeum.models.registry import MODELS, ModelKind
from maeum.types import MODALITIES, Modality


class FE2EConfig(BranchesConfig):
    """Settings of FE2E. A branch that is None does not exist."""


class MapEncoder(nn.Module):
    """The CNN of one frame or mel chunk. ``(n, channels, h, w) -> (n, dim)``; valid frames only, no padding.

    The flattened map has the size that ``shape`` gives; a map of another size (a reduced training resolution) is
    pooled to it.
    """

    def __init__(self, config: BranchConfig, in_channels: int, shape: tuple[int, int], dim: int) -> None:
        super().__init__()
        first, *rest = config.widths
        self.stem = Stem(in_channels, first, config.stem_blocks)
        ins = (first, *rest[:-1])
        self.blocks = nn.ModuleList(VGGBlock(i, o) for i, o in zip(ins, rest, strict=True))
        self.map_shape = flat_shape(shape)
        self.map_dropout = nn.Dropout2d(config.map_dropout)
        self.project = projection(config, self.map_shape, dim)

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, channels, h, w) -> (n, dim)``."""
        maps = self.stem(maps)
        for block in self.blocks:
            maps = self.map_dropout(F.max_pool2d(block(maps), 2))
        maps = F.adaptive_avg_pool2d(maps, self.map_shape)
        projected: Tensor = self.project(maps.flatten(1))
        return projected


class FE2E(BranchNetwork, BranchesStandAlone):
    """FE2E (Dai et al., NAACL 2021, section 3): branches that encode frames and mel chunks by a dense CNN each.

    Inputs and outputs: see `BranchNetwork`.
    """

    def build_map_encoder(self, modality: Modality, branch: BranchConfig) -> nn.Module:
        """See `BranchNetwork`."""
        return MapEncoder(branch, *map_form(modality, branch), self.config.dim)

    def encode_maps(self, modality: Modality, maps: Tensor, query: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """See `BranchNetwork`; there is no query."""
        return self.encoders[modality](maps), {}

    @classmethod
    def only_branches(
        cls, settings: Mapping[str, Any], weights: Mapping[str, Tensor], modalities: Sequence[Modality]
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """See `BranchesStandAlone`; each keeps its weight in the fusion."""
        whole = [m for m in MODALITIES if settings.get(m) is not None]
        dropped = [m for m in whole if m not in modalities]
        prefixes = tuple(f"{part}.{m}." for m in dropped for part in BRANCH_PARTS)
        kept = {name: tensor for name, tensor in weights.items() if not name.startswith(prefixes)}
        kept["fusion.weight"] = kept["fusion.weight"][:, [i for i, m in enumerate(whole) if m in modalities]]
        return {**settings, **dict.fromkeys(dropped)}, kept


MODELS.register("fe2e")(ModelKind(FE2EConfig, FE2E, "FE2E: dense end-to-end network (Dai et al. 2021)"))

__all__ = ["FE2E", "BranchConfig", "FE2EConfig", "MapEncoder", "TransformerConfig"]
