"""MESM: FE2E whose upper CNN blocks look only where the words tell them to.

Dai, Cahyawijaya, Liu, Fung, "Multimodal End-to-End Sparse Model for Emotion Recognition", NAACL 2021, section 3.3.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from maeum.models.fe2e import FE2E, BranchConfig, FE2EConfig, map_form, projection
from maeum.models.layers import Stem
from maeum.models.registry import MODELS, ModelKind
from maeum.sparse import AttentionWeights, operators, reference
from maeum.types import Modality

Selection = Literal["learned", "published", "random", "all"]


class MESMConfig(FE2EConfig):
    """Sizes of MESM.

    top_p: attention mass that is kept at each sparse block, 0 < top_p <= 1.
    selection: ``learned`` multiplies what is kept by its probability relative to an even one, so the loss reaches the
    attention and it learns where to look; ``published`` takes what is kept as it is, so the attention never gets a
    gradient (for published checkpoints and for comparison). Controls: ``random`` keeps a share of ``top_p`` of the
    positions, drawn anew each time; ``all`` keeps every position.
    budget: share of a map's positions, 0 < budget <= 1: so many of the most probable active ones (at random for
    ``random``) are kept in each map, whatever their mass; None keeps by ``top_p``.
    settle: share of a training, 0..1, in which the kept mass falls from 1 to ``top_p``, so that the attention sees all
    positions before it has to choose among them.
    query_dim: width of the query when there is no text branch.
    """

    top_p: float = Field(default=0.7, gt=0, le=1)
    selection: Selection = "learned"
    budget: float | None = Field(default=None, gt=0, le=1)
    settle: float = Field(default=0.0, ge=0, le=1)
    query_dim: int = 64


class CrossModalAttention(nn.Module):
    """Which positions of a map the query asks for: additive attention, softmax, nucleus.

    ``loose``: how far a training still is from keeping ``top_p`` alone, 1 (everything is kept) to 0.
    """

    def __init__(
        self, channels: int, query_dim: int, top_p: float, selection: Selection, budget: float | None = None
    ) -> None:
        super().__init__()
        self.map = nn.Linear(channels, channels)
        self.query = nn.Linear(query_dim, channels, bias=False)
        self.score = nn.Linear(channels, 1, bias=False)
        self.top_p = top_p
        self.selection = selection
        self.budget = budget
        self.loose = 0.0

    def forward(self, maps: Tensor, mask: Tensor, query: Tensor) -> tuple[Tensor, Tensor | None]:
        """The kept positions of ``mask (n, h, w)``, and what to multiply them by: ``(n, h, w)``, or None for 1."""
        loose = self.loose if self.training else 0.0
        top_p, budget = (None if p is None else p + (1 - p) * loose for p in (self.top_p, self.budget))
        assert top_p is not None
        if self.selection == "all":
            return mask, None
        if self.selection == "random":
            drawn = torch.rand(mask.shape, device=mask.device)
            if budget is None:
                # So many that their share of what is active is top_p, as of an even attention's mass.
                return reference.most(drawn, mask, (top_p * mask.sum((1, 2))).ceil()), None
            return reference.most(drawn, mask, budget_of(mask, budget)), None
        weights = AttentionWeights(self.map.weight, self.map.bias, self.query.weight, self.score.weight[0])
        ops = operators()
        probs = ops.attend(maps, mask, query, weights)
        keep = ops.top_p(probs, mask, top_p) if budget is None else reference.most(probs, mask, budget_of(mask, budget))
        return keep, probs * mask.sum((1, 2), keepdim=True) if self.selection == "learned" else None


def budget_of(mask: Tensor, share: float) -> Tensor:
    """How many positions of each map ``mask (n, h, w)`` a share of them is, ``(n,)``; at least one."""
    return torch.full((len(mask),), math.ceil(share * mask[0].numel()) if len(mask) else 1, device=mask.device)


class SparseBlock(nn.Module):
    """Two submanifold 3x3 convolutions, each with batch norm and ReLU over the active sites."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels, eps=1e-4)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=1e-4)

    def forward(self, maps: Tensor, keep: Tensor, gate: Tensor | None) -> Tensor:
        """``(n, in, h, w) -> (n, out, h, w)`` at the kept positions, each multiplied by its gate; zero elsewhere."""
        return operators().conv_block(maps, keep, gate, ((self.conv1, self.bn1), (self.conv2, self.bn2)))


class SparseMapEncoder(nn.Module):
    """The CNN of one frame or piece, sparse above its stem. ``(n, channels, h, w), (n, query) -> (n, dim)``."""

    def __init__(
        self, config: BranchConfig, in_channels: int, shape: tuple[int, int], dim: int, query_dim: int, mesm: MESMConfig
    ) -> None:
        super().__init__()
        first, *rest = config.widths
        ins = (first, *rest[:-1])
        self.stem = Stem(in_channels, first, config.stem_blocks)
        self.attention = nn.ModuleList(
            CrossModalAttention(i, query_dim, mesm.top_p, mesm.selection, mesm.budget) for i in ins
        )
        self.blocks = nn.ModuleList(SparseBlock(i, o) for i, o in zip(ins, rest, strict=True))
        self.map_shape = (shape[0] // 16, shape[1] // 16)
        self.map_dropout = nn.Dropout2d(config.map_dropout)
        self.project = projection(config, self.map_shape, dim)

    def forward(self, maps: Tensor, query: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encoded maps ``(n, dim)`` and the kept positions of each block, ``(n, h, w)`` bool."""
        ops = operators()
        maps = ops.stem(maps, *self.stem.layers())
        mask = maps.new_ones(maps.shape[0], *maps.shape[2:], dtype=torch.bool)
        kept: list[Tensor] = []
        for attention, block in zip(self.attention, self.blocks, strict=True):
            keep, gate = attention(maps, mask, query)
            kept.append(keep)
            maps, mask = ops.max_pool(block(maps, keep, gate), keep)
            maps = self.map_dropout(maps)
        projected: Tensor = self.project(F.adaptive_avg_pool2d(maps, self.map_shape).flatten(1))
        return projected, kept


class MESM(FE2E):
    """FE2E with cross-modal sparse blocks in the face and speech branches.

    The query is the clip's text vector; a clip without words asks with a learned stand-in. ``auxiliary`` holds, per
    branch and block, the kept positions (``faces.kept0`` ... in the order of the valid frames or pieces).
    """

    config: MESMConfig

    def __init__(self, config: MESMConfig) -> None:
        super().__init__(config)
        self.stand_in = nn.Parameter(torch.randn(self.query_dim) * self.query_dim**-0.5)

    @property
    def top_p(self) -> float:
        """Attention mass that is kept at each sparse block. May be set, without training anew."""
        return self.config.top_p

    @top_p.setter
    def top_p(self, top_p: float) -> None:
        self.config = self.config.model_copy(update={"top_p": top_p})
        for module in self.modules():
            if isinstance(module, CrossModalAttention):
                module.top_p = top_p

    def set_progress(self, done: float) -> None:
        """Say how much of a training is done, 0..1, see ``settle``."""
        settle = self.config.settle
        loose = max(0.0, 1 - done / settle) if settle else 0.0
        for module in self.modules():
            if isinstance(module, CrossModalAttention):
                module.loose = loose

    @property
    def query_dim(self) -> int:
        """Width of the query."""
        if "text" in self.encoders:
            dim = self.encoders["text"].dim
            assert isinstance(dim, int)
            return dim
        return self.config.query_dim

    def build_map_encoder(self, modality: Modality, branch: BranchConfig) -> nn.Module:
        """The sparse CNN of one branch."""
        return SparseMapEncoder(branch, *map_form(modality, branch), self.config.dim, self.query_dim, self.config)

    def ask(self, query: Tensor | None, present: dict[Modality, Tensor], mask: Tensor) -> Tensor:
        """The words of each valid frame's or piece's clip, ``(n, query)``, or the stand-in where it has none."""
        asked = self.stand_in.expand(len(mask), -1)
        if query is not None:
            asked = torch.where(present["text"].unsqueeze(1), query, asked)
        return asked[mask.nonzero(as_tuple=True)[0]]

    def read_maps(self, modality: Modality, maps: Tensor, asked: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps ``(n, channels, h, w)`` through their sparse CNN, ``(n, dim)``, and the positions that it kept."""
        encoded, kept = self.encoders[modality](maps, asked)
        return encoded, {f"{modality}.kept{i}": positions for i, positions in enumerate(kept)}


MODELS.register("mesm")(
    ModelKind(MESMConfig, MESM, "MESM: cross-modal attention selects where to compute (Dai et al. 2021)")
)
