"""MESM: a network of branches whose upper CNN blocks compute only at positions that attention to the words selects.

Dai, Cahyawijaya, Liu, Fung, "Multimodal End-to-End Sparse Model for Emotion Recognition", NAACL 2021, section 3.3.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from maeum.errors import ConfigError, ModelError
from maeum.models.branches import BranchConfig, BranchesConfig, BranchNetwork, flat_shape, map_form, projection
from maeum.models.layers import Stem
from maeum.models.network import SelectsPositions
from maeum.models.registry import MODELS, ModelKind
from maeum.sparse import AttentionWeights, operators, reference
from maeum.types import Batch, Modality, ModelOutput

Selection = Literal["learned", "published", "random", "all"]

_Step = Annotated[int, Field(ge=0, le=1_000_000_000)]


class MESMConfig(BranchesConfig):
    """Settings of MESM. A branch that is None does not exist."""

    top_p: float = Field(default=0.7, gt=0, le=1)
    """Attention mass of the positions that each sparse block selects, above 0 to 1."""
    selection: Selection = "learned"
    """``learned`` multiplies selected positions by how much more probable they are than under even attention (see
    `CrossModalAttention`), so the loss reaches the attention and it learns where to look. ``published`` takes them as
    they are, so the attention never gets a gradient (for published checkpoints and for comparison). Controls:
    ``random`` selects a share of ``top_p`` of the positions, drawn anew each time; ``all`` selects every position."""
    budget: float | None = Field(default=None, gt=0, le=1)
    """Share of a map's positions: so many active ones, the first in order (at random for ``random``), are selected in
    each map, whatever their mass; None selects by ``top_p``."""
    levels: int = Field(default=4, ge=1, le=64)
    """How many masses a training has, evenly from ``top_p`` (or ``budget``) to 1. One is drawn for each batch and
    branch, the least for half of them: the attention also sees what it does not select yet, and one network serves
    every p from ``top_p`` on. Blocks have batch norms for each level, as what they see differs between them; at another
    p the nearest ones are used. With 1 it is ``top_p`` alone."""
    sharpness: float = Field(default=1.0, gt=0, le=1000)
    """What the attention's scores are multiplied by before the softmax: above 1 it becomes sharp sooner."""
    sharpen_steps: tuple[_Step, _Step] | None = None
    """From which to which training step ``sharpness`` grows from 1; None is sharp from the start. An attention that is
    sharp before the rest of the network can tell what matters may settle on some place and stay."""
    spread: float = Field(default=0.0, ge=0, le=16)
    """How evenly selected positions cover a map (not for ``random`` and ``all``). With 0 the most probable ones are
    selected, wherever they lie. Above it, positions are taken in the order of their probability times a preference for
    a regular grid (see `preference`): with 1 they lie the denser the more probable they are, as in a halftone picture.
    """
    query_shuffle: float = Field(default=0.0, ge=0, le=1)
    """Share of the clips whose query is that of another clip of the batch while training (for ``learned``). Words of a
    training clip are soon as good as its label; if they were always the query of their own clip, the selection
    would tell the label, and branches would learn to read it there instead of in faces and voices."""
    scoring: Literal["modulated", "additive"] = "modulated"
    """``modulated``: the query multiplies what the score sees in a map. ``additive``: it is added (as published)."""
    query_modality: Literal["text", "speech"] = "text"
    """What the query for faces is made from: the words, or (our extension) the voice. A clip that lacks it has a
    learned query instead."""
    query_dim: int = Field(default=64, ge=1, le=16_384)
    """Width of the query when there is no text branch."""

    @model_validator(mode="after")
    def _fits(self) -> MESMConfig:
        if self.sharpen_steps is not None and not 0 <= self.sharpen_steps[0] < self.sharpen_steps[1]:
            raise ValueError(f"sharpen_steps go from a step to a later one, not {list(self.sharpen_steps)}")
        if self.spread and self.selection in ("random", "all"):
            raise ValueError(f"spread is for what an attention selects, and selection is {self.selection}")
        return self


class CrossModalAttention(nn.Module):
    """Selects positions of a map by attention between query and map: scores, softmax, nucleus.

    With r the probability of a selected position times the number of active ones, which is 1 for even attention, a
    learned selection multiplies it by 2 r / (1 + r): 0 to 2, and 1 for even attention. However sharp the attention
    becomes, no position drowns the others in the batch norm that follows.
    """

    def __init__(self, channels: int, query_dim: int, config: MESMConfig) -> None:
        super().__init__()
        self.modulated = config.scoring == "modulated"
        self.map = nn.Linear(channels, channels)
        self.query = nn.Linear(query_dim, channels, bias=self.modulated)
        self.score = nn.Linear(channels, 1, bias=False)
        self.top_p = config.top_p
        self.selection = config.selection
        self.budget = config.budget
        self.sharpness, self.sharpen_steps = config.sharpness, config.sharpen_steps
        self.steps: Tensor
        if config.sharpen_steps is not None:
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.spread = config.spread
        least = config.top_p if config.budget is None else config.budget
        self.masses = [least + (1 - least) * i / max(config.levels - 1, 1) for i in range(config.levels)]
        # Half of the batches at the least, which is the hardest, the others evenly over the rest.
        others = config.levels - 1
        self.share = torch.tensor([0.5, *(0.5 / others for _ in range(others))] if others else [1.0])

    def level(self) -> int:
        """The number of the next mass: drawn while training, else the nearest one to ``top_p`` or ``budget``."""
        if self.selection == "all":
            return 0
        if self.training:
            return int(torch.multinomial(self.share, 1))
        mass = self.top_p if self.budget is None else self.budget
        return min(range(len(self.masses)), key=lambda i: abs(self.masses[i] - mass))

    def forward(self, maps: Tensor, mask: Tensor, query: Tensor, level: int) -> tuple[Tensor, Tensor | None]:
        """Select among a map's active positions.

        Args:
            maps: ``(n, channels, h, w)``.
            mask: the active positions, ``(n, h, w)`` bool.
            query: ``(n, query_dim)``.
            level: at which of the masses, while training.

        Returns:
            The selected positions, and what to multiply them by: ``(n, h, w)``, or None for 1.
        """
        if self.selection == "all":
            return mask, None
        top_p, budget = self.top_p, self.budget
        if self.training:
            top_p, budget = self.masses[level], None if budget is None else self.masses[level]
        if self.selection == "random":
            drawn = torch.rand(mask.shape, device=mask.device)
            if budget is None:
                # So many that their share of what is active is top_p, as of an even attention's mass.
                return reference.most(drawn, mask, (top_p * mask.sum((1, 2))).ceil()), None
            return reference.most(drawn, mask, budget_of(mask, budget)), None
        if self.training and self.sharpen_steps is not None:
            self.steps += 1
        ops = operators()
        probs = ops.attend(maps, mask, self.weights(query))
        grid = preference(mask.shape[1], mask.shape[2], self.spread, mask.device) if self.spread else None
        if budget is None:
            selected = ops.top_p(probs, mask, top_p, grid)
        else:
            wanted = probs if grid is None else probs.detach() * grid
            selected = reference.most(wanted, mask, budget_of(mask, budget))
        if self.selection == "published":
            return selected, None
        relative = probs * mask.sum((1, 2), keepdim=True)
        return selected, 2 * relative / (1 + relative)

    def weights(self, query: Tensor) -> AttentionWeights:
        """What the scores are computed by, for ``query (n, query_dim)``."""
        if self.modulated:  # the query's size says nothing: an untrained encoder's words hardly differ
            scale = 1 + self.query(F.layer_norm(query, query.shape[-1:]))
            shift = torch.zeros_like(scale[:1])
        else:
            shift = self.query(query)
            scale = torch.ones_like(shift[:1])
        sharpness: Tensor | float = self.sharpness
        if self.sharpen_steps is not None:
            first, last = self.sharpen_steps
            sharpness = 1 + (self.sharpness - 1) * ((self.steps - first) / (last - first)).clamp(0, 1)
        return AttentionWeights(self.map.weight, self.map.bias, sharpness * self.score.weight[0], scale, shift)


@lru_cache(maxsize=64)
def preference(height: int, width: int, spread: float, device: torch.device) -> Tensor:
    """How much each position of a map is preferred for its place alone, ``(height, width)``.

    Places are ranked as in ordered dithering (Bayer 1973), over and over in squares of 4 x 4: the first four of 16 are
    one of each 2 x 2, so that with a quarter selected no part of the map is lost to the pooling that follows. Place
    number i of 16 has the preference ``(16 / (i + 0.5)) ** spread``.
    """
    with torch.inference_mode(False):  # it stays, and trainings may use it
        small = torch.tensor([[0, 2], [3, 1]])
        rank = 4 * small.repeat(2, 2) + small.repeat_interleave(2, 0).repeat_interleave(2, 1)
        tiled = rank.repeat(-(-height // 4), -(-width // 4))[:height, :width]
        return (16 / (tiled + 0.5)).pow(spread).to(device)


def budget_of(mask: Tensor, share: float) -> Tensor:
    """How many positions of each map ``mask (n, h, w)`` a share of them is, ``(n,)``; at least one."""
    return torch.full((len(mask),), math.ceil(share * mask[0].numel()) if len(mask) else 1, device=mask.device)


class SparseBlock(nn.Module):
    """Two submanifold 3x3 convolutions, each with batch norm and ReLU over the active sites.

    The norms of the first level are ``bn1`` and ``bn2``, those of the others ``more_norms``: two a level.
    """

    def __init__(self, in_channels: int, out_channels: int, levels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels, eps=1e-4)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels, eps=1e-4)
        self.more_norms = nn.ModuleList(nn.BatchNorm2d(out_channels, eps=1e-4) for _ in range(2 * (levels - 1)))

    def forward(self, maps: Tensor, selected: Tensor, gate: Tensor | None, level: int) -> Tensor:
        """``(n, in, h, w) -> (n, out, h, w)`` at the selected positions, each times its gate; zero elsewhere."""
        norms = (self.bn1, self.bn2, *self.more_norms)[2 * level : 2 * level + 2]
        layers = [(conv, norm) for conv, norm in zip((self.conv1, self.conv2), norms, strict=True)]
        return operators().conv_block(maps, selected, gate, layers)


class SparseMapEncoder(nn.Module):
    """The CNN of one frame or mel chunk, sparse above its stem. ``(n, channels, h, w), (n, query) -> (n, dim)``."""

    def __init__(
        self, config: BranchConfig, in_channels: int, shape: tuple[int, int], query_dim: int, mesm: MESMConfig
    ) -> None:
        super().__init__()
        first, *rest = config.widths
        ins = (first, *rest[:-1])
        self.stem = Stem(in_channels, first, config.stem_blocks)
        self.attention = nn.ModuleList(CrossModalAttention(i, query_dim, mesm) for i in ins)
        # Where everything is selected there is one level.
        levels = 1 if mesm.selection == "all" else mesm.levels
        self.blocks = nn.ModuleList(SparseBlock(i, o, levels) for i, o in zip(ins, rest, strict=True))
        self.map_shape = flat_shape(shape)
        self.map_dropout = nn.Dropout2d(config.map_dropout)
        self.project = projection(config, self.map_shape, mesm.dim)

    def forward(self, maps: Tensor, query: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Encoded maps ``(n, dim)`` and the selected positions of each block, ``(n, h, w)`` bool."""
        ops = operators()
        maps = ops.stem(maps, *self.stem.layers())
        mask = maps.new_ones(maps.shape[0], *maps.shape[2:], dtype=torch.bool)
        selected: list[Tensor] = []
        first: Any = self.attention[0]
        level = first.level()  # one for all blocks, as each sees what those before it select
        for attention, block in zip(self.attention, self.blocks, strict=True):
            positions, gate = attention(maps, mask, query, level)
            selected.append(positions)
            maps, mask = ops.max_pool(block(maps, positions, gate, level), positions)
            maps = self.map_dropout(maps)
        projected: Tensor = self.project(F.adaptive_avg_pool2d(maps, self.map_shape).flatten(1))
        return projected, selected


class MESM(BranchNetwork, SelectsPositions):
    """MESM (Dai et al., NAACL 2021, section 3.3): branches whose CNNs compute where the words direct them.

    Each modality has a branch of its own, whose logits are weighted and added (`BranchNetwork`):

    - text: an encoder, whose summary is the query of the other two branches;
    - speech and faces: every valid mel chunk or face goes through a dense stem and three sparse blocks. Before each
      block, attention between query and map selects positions, and the block convolves these alone
      (`SparseMapEncoder`). A transformer summarises the encodings of a clip.

    A clip without words, and every clip of a network without a text branch, has a learned query instead.

    Inputs and outputs are those of `BranchNetwork`; ``auxiliary["faces.selected0"]`` to ``["faces.selected2"]``, and
    those of ``speech``, are the positions that each block selects, ``(n, h, w)`` bool in the order of valid frames or
    mel chunks.

    Raises:
        ModelError: when the voice is the query for faces and there is no speech branch.
    """

    config: MESMConfig

    def __init__(self, config: MESMConfig) -> None:
        if config.query_modality == "speech" and None in (config.speech, config.faces):
            raise ModelError("query_modality: speech needs a branch for faces and one for speech")
        super().__init__(config)
        self.absent_text = nn.Parameter(torch.randn(self.query_dim) * self.query_dim**-0.5)
        if config.query_modality == "speech":
            self.absent_speech = nn.Parameter(torch.randn(config.dim) * config.dim**-0.5)

    @property
    def top_p(self) -> float:
        """See `SelectsPositions`."""
        return self.config.top_p

    @top_p.setter
    def top_p(self, top_p: float) -> None:
        self.config = MESMConfig.parse({**dict(self.config), "top_p": top_p})
        for module in self.modules():
            if isinstance(module, CrossModalAttention):
                module.top_p = top_p

    @property
    def query_dim(self) -> int:
        """Width of a query that is made from words."""
        if "text" in self.encoders:
            dim = self.encoders["text"].dim
            assert isinstance(dim, int)
            return dim
        return self.config.query_dim

    def build_map_encoder(self, modality: Modality, branch: BranchConfig) -> nn.Module:
        """The sparse CNN of one branch."""
        dim = self.config.dim if self._query_modality(modality) == "speech" else self.query_dim
        return SparseMapEncoder(branch, *map_form(modality, branch), dim, self.config)

    def encode_maps(self, modality: Modality, maps: Tensor, query: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """See `BranchNetwork`; also gives the positions that each block selects."""
        encoded, selected = self.encoders[modality](maps, query)
        return encoded, {f"{modality}.selected{i}": positions for i, positions in enumerate(selected)}

    def attention_query(
        self, modality: Modality, features: Mapping[str, Tensor], present: Mapping[Modality, Tensor], mask: Tensor
    ) -> Tensor:
        """The query of each valid frame or mel chunk, ``(n, width)``: its clip's words or voice, or a learned one."""
        source = self._query_modality(modality)
        query = (self.absent_text if source == "text" else self.absent_speech).expand(len(mask), -1)
        if source in features:
            summary, has_source = features[source].to(query.dtype), present[source]
            if self.training and self.config.query_shuffle and self.config.selection == "learned":
                clip = torch.arange(len(summary), device=summary.device)
                another = clip[torch.randperm(len(summary), device=summary.device)]
                shuffled = torch.rand(len(summary), device=summary.device) < self.config.query_shuffle
                clip = torch.where(shuffled, another, clip)
                summary, has_source = summary[clip], has_source[clip]
            query = torch.where(has_source.unsqueeze(1), summary, query)
        return query[mask.nonzero(as_tuple=True)[0]]

    def _query_modality(self, modality: Modality) -> Modality:
        """What the query of a branch is made from."""
        return self.config.query_modality if modality == "faces" else "text"

    def selected(self, output: ModelOutput, modality: Modality) -> Sequence[Tensor]:
        """See `SelectsPositions`."""
        return [tensor for name, tensor in output.auxiliary.items() if name.startswith(f"{modality}.selected")]

    def mel_maps(self, batch: Batch) -> Tensor | None:
        """See `SelectsPositions`."""
        if self.config.mel_branch is None or batch.mel_chunks is None or batch.mel_chunks_mask is None:
            return None
        return self.audible_maps(batch.mel_chunks, batch.mel_chunks_mask)[1]

    @classmethod
    def fixed_selection_reason(cls, settings: Mapping[str, Any]) -> str | None:
        """See `SelectsPositions`."""
        if settings.get("selection") == "all":
            return "selects every position, so it has no top_p"
        if settings.get("budget") is not None:
            return "selects a fixed share of positions, whatever top_p is"
        return None

    def adapt_branch(self, theirs: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A branch of one level as a branch of several.

        FE2E's convolutions have a bias, which sparse ones do not have: the batch norm behind takes it off its mean.
        The norms of further levels begin as those of the first.
        """
        branch = dict(theirs)
        if any(".more_norms." in name for name in theirs):
            if lacking := next((name for name in own if ".more_norms." in name and name not in theirs), None):
                raise ConfigError(f"its branch does not fit this network ({lacking})")
            return branch
        for name in theirs:
            if re.search(r"\.blocks\.\d+\.conv\d\.bias$", name) and name not in own:
                mean = re.sub(r"conv(\d)\.bias$", r"bn\1.running_mean", name)
                branch[mean] = branch[mean] - branch.pop(name)
        for name in own:
            if further := re.match(r"(.*)\.more_norms\.(\d+)\.(.*)", name):
                block, number, what = further.groups()
                if (first := f"{block}.bn{int(number) % 2 + 1}.{what}") in branch:
                    branch[name] = branch[first]
        return branch


MODELS.register("mesm")(
    ModelKind(MESMConfig, MESM, "MESM: cross-modal attention selects where to compute (Dai et al. 2021)")
)
