"""FE2E: the fully end-to-end network from face frames, mel chunks and words to emotions.

Dai, Cahyawijaya, Liu, Fung, "Multimodal End-to-End Sparse Model for Emotion Recognition", NAACL 2021, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ConfigError, ModelError
from maeum.media.shapes import FACE_PX, MEL_CHUNK_SHAPE
from maeum.models import fusion
from maeum.models.counting import StageCost, count
from maeum.models.encoders.text import TextConfig, build_text_encoder
from maeum.models.layers import SequenceEncoder, Stem, VGGBlock, scatter_valid
from maeum.models.network import ComparesEncodings, CountsOperations, HasBranches, InputNeeds, Network, encodings_name
from maeum.models.registry import MODELS, ModelKind
from maeum.types import MODALITIES, Batch, Modality, ModelOutput

#: Mean and standard deviation of the published face normalisation, RGB, 0..255.
FACE_MEAN = (159.0, 111.0, 102.0)
FACE_STD = (37.0, 33.0, 32.0)
#: Weights of red, green and blue in luminance (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)
#: A decibel of power in natural logarithm.
NATURAL_PER_DB = 0.2302585
#: Frames whose loudest bin is within this of the utterance's count as loud (30 dB).
LOUD_RANGE = 30 * NATURAL_PER_DB


class TransformerConfig(Config):
    """Sizes of the transformer over frames or mel chunks."""

    layers: int = 4
    heads: int = 4
    feedforward: int = 2048
    dropout: float = 0.1
    positions: bool = True


class BranchConfig(Config):
    """Sizes of the branch that reads faces or mel chunks.

    widths: channels of the stem and of the three VGG blocks after it. hidden: width between the flattened map and d.
    map_dropout: whole channels dropped between blocks; dropout: before and after the hidden layer.
    norm: ``published`` (faces: fixed mean and deviation; mel_chunks: as they come) or ``each`` (every face
    standardised by itself; every utterance's log-mel relative to its loudest bin, so that level does not matter); mel
    chunks also ``bands`` (relative to each mel band's mean over the loud frames, so that neither level nor the
    channel's frequency response matters) and ``both`` (``each`` and ``bands`` as two channels).
    range_db: log-mel further than this below an utterance's loudest bin is floor (not for ``published``).
    shrink: so many mel bands and frames of a mel chunk are averaged into one before the CNN.
    silence_db: mel chunks that stay so far below the utterance's loudest frame are not looked at; None looks at all.
    grey: read faces by their luminance alone.
    mirror: outside training, read every face and its mirror image, and go on with the mean of the two.
    zooms: outside training, read a face that is its clip's only one at these zooms as well (below 1 it is smaller), and
    go on with the mean. Several faces of a clip differ enough by themselves.
    """

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    stem_blocks: int = 2
    hidden: int = 1024
    dropout: float = 0.0
    map_dropout: float = 0.0
    norm: Literal["published", "each", "bands", "both"] = "published"
    grey: bool = False
    mirror: bool = False
    zooms: tuple[Annotated[float, Field(gt=0)], ...] = ()
    range_db: float = 80.0
    shrink: tuple[int, int] = (1, 1)
    silence_db: float | None = None
    transformer: TransformerConfig = TransformerConfig()


class FE2EConfig(Config):
    """Sizes of FE2E. A branch that is None does not exist."""

    labels: int
    dim: int = 64
    faces: BranchConfig | None = BranchConfig()
    speech: BranchConfig | None = BranchConfig()
    text: TextConfig | None = None


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
        self.map_shape = (shape[0] // 16, shape[1] // 16)
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


def normalise_faces(faces: Tensor, config: BranchConfig) -> Tensor:
    """Faces ``(n, 3, h, w)``, 0..255, as the CNN wants them: ``(n, 1 or 3, h, w)`` float."""
    maps = faces.float()
    if config.grey:
        maps = (maps * maps.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if config.norm == "each":
        std, mean = torch.std_mean(maps, dim=(1, 2, 3), keepdim=True)
        return (maps - mean) / (std + 1.0)
    mean, std = maps.new_tensor(FACE_MEAN), maps.new_tensor(FACE_STD)
    if config.grey:
        mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
    return (maps - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)


def zoomed(maps: Tensor, zoom: float) -> Tensor:
    """Maps ``(n, channels, h, w)`` enlarged around their centre; what is missing at the edges is reflected."""
    theta = maps.new_tensor([[1 / zoom, 0, 0], [0, 1 / zoom, 0]]).expand(len(maps), 2, 3)
    grid = F.affine_grid(theta, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, padding_mode="reflection", align_corners=False)


def frame_levels(mel_chunks: Tensor, owner: Tensor, owners: int) -> tuple[Tensor, Tensor]:
    """Loudness of valid mel chunks ``(n, 1, 128, 32)`` of utterances ``owner (n,)``.

    Returns:
        Each frame's loudest bin relative to the utterance's, ``(n, 1, 1, 32)``, at most 0 (natural log of power), and
        the utterances' loudest bins, ``(owners,)``.
    """
    frames = mel_chunks.amax(2, keepdim=True)
    loudest = frames.new_full((owners,), -torch.inf).scatter_reduce(0, owner, frames.amax((1, 2, 3)), "amax")
    return frames - loudest[owner].view(-1, 1, 1, 1), loudest


def audible_mel_chunks(mel_chunks: Tensor, owner: Tensor, owners: int, silence_db: float) -> Tensor:
    """Which valid mel chunks ``(n, 1, 128, 32)`` have a frame within ``silence_db`` of their utterance's loudest,
    ``(n,)``.

    Every utterance keeps at least the mel chunk that holds its loudest frame.
    """
    levels, _ = frame_levels(mel_chunks.float(), owner, owners)
    return levels.amax((1, 2, 3)) >= -silence_db * NATURAL_PER_DB


def normalise_mel_chunks(mel_chunks: Tensor, owner: Tensor, owners: int, config: BranchConfig) -> Tensor:
    """Valid mel chunks ``(n, 1, 128, 32)`` of utterances ``owner (n,)`` as the CNN wants them.

    Statistics are of each utterance's own valid mel chunks, so neither its neighbours in the batch nor padding matter.
    Frames at the floor, such as those that fill up an utterance's last mel chunk, take no part in a band's mean.

    Returns:
        ``(n, 1 or 2, 128 / shrink[0], 32 / shrink[1])``.
    """
    maps = mel_chunks.float()
    if config.norm != "published":
        levels, loudest = frame_levels(maps, owner, owners)
        span = config.range_db * NATURAL_PER_DB
        relative = (maps - loudest[owner].view(-1, 1, 1, 1)).clamp(min=-span)
        each = relative / (span / 4) + 2.0
        maps = each
        if config.norm in ("bands", "both"):
            bands = relative - band_means(relative, levels > -LOUD_RANGE, owner, owners)[owner].view(-1, 1, 128, 1)
            bands = bands / (span / 8)
            maps = bands if config.norm == "bands" else torch.cat((each, bands), 1)
    return F.avg_pool2d(maps, config.shrink) if config.shrink != (1, 1) else maps


def band_means(maps: Tensor, loud: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Mean of each mel band over an utterance's loud frames.

    Args:
        maps: ``(n, 1, bands, frames)``.
        loud: ``(n, 1, 1, frames)`` bool.
        owner: ``(n,)``, which utterance each mel chunk belongs to.
        owners: how many utterances there are.

    Returns:
        ``(owners, bands)``.
    """
    total = maps.new_zeros(owners, maps.shape[2]).index_add(0, owner, (maps * loud).sum((1, 3)))
    count = maps.new_zeros(owners).index_add(0, owner, loud.to(maps.dtype).sum((1, 2, 3)))
    return total / count.clamp(min=1).unsqueeze(1)


def map_form(modality: Modality, branch: BranchConfig) -> tuple[int, tuple[int, int]]:
    """Channels and (height, width) of a branch's maps as `normalise_faces` and `normalise_mel_chunks` give them."""
    if modality == "faces":
        return 1 if branch.grey else 3, (FACE_PX, FACE_PX)
    shape = (MEL_CHUNK_SHAPE[0] // branch.shrink[0], MEL_CHUNK_SHAPE[1] // branch.shrink[1])
    return 2 if branch.norm == "both" else 1, shape


def projection(config: BranchConfig, shape: tuple[int, int], dim: int) -> nn.Sequential:
    """The layers from a flattened map of so many (rows, columns), of the last width, to ``dim``."""
    return nn.Sequential(
        nn.Dropout(config.dropout),
        nn.Linear(config.widths[-1] * shape[0] * shape[1], config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, dim),
    )


class FE2E(Network, HasBranches, CountsOperations, ComparesEncodings):
    """FE2E: each modality through its own branch to its own logits, which are weighted and added.

    The sum runs over the modalities that a clip has. ``auxiliary`` holds the encodings of the valid frames and mel
    chunks in their order, ``faces.encoded`` and ``speech.encoded``, ``(n, dim)``.

    Raises:
        ModelError: when a batch has none of the modalities that the network reads.
    """

    def __init__(self, config: FE2EConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.encoders = nn.ModuleDict()
        self.sequences = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        if config.text is not None:  # first: MESM's branches ask for its width
            text_encoder = build_text_encoder(config.text)
            self.config = config = config.model_copy(update={"text": text_encoder.config})
            self.encoders["text"] = text_encoder
            self.heads["text"] = nn.Linear(text_encoder.dim, config.labels)
        branches: tuple[tuple[Modality, BranchConfig | None], ...] = (
            ("faces", config.faces),
            ("speech", config.speech),
        )
        for name, branch in branches:
            if branch is None:
                continue
            self.encoders[name] = self.build_map_encoder(name, branch)
            t = branch.transformer
            self.sequences[name] = SequenceEncoder(dim, t.layers, t.heads, t.feedforward, t.dropout, t.positions)
            self.heads[name] = nn.Linear(dim, config.labels)
        if not self.heads:
            raise ModelError("a network needs at least one of faces, speech and text")
        self.modalities: tuple[Modality, ...] = tuple(m for m in MODALITIES if m in self.heads)
        if config.text is not None:
            self.input_needs = InputNeeds(max_tokens=text_encoder.longest, vocabulary=text_encoder.vocabulary)
        self.auxiliary_names = frozenset(encodings_name(m) for m in self.modalities if m in self.sequences)
        self.fusion = nn.Linear(len(self.modalities), 1, bias=False)
        nn.init.ones_(self.fusion.weight)

    def build_map_encoder(self, modality: Modality, branch: BranchConfig) -> nn.Module:
        """The CNN of one branch; MESM puts its sparse one here."""
        return MapEncoder(branch, *map_form(modality, branch), self.config.dim)

    def forward(self, batch: Batch) -> ModelOutput:
        """Logits of a batch; see `ModelOutput` for shapes."""
        features: dict[str, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        auxiliary: dict[str, Tensor] = {}
        if "text" in self.heads and batch.tokens is not None and batch.tokens_mask is not None:
            features["text"] = self.encoders["text"](batch.tokens, batch.tokens_mask)
            present["text"] = batch.tokens_mask.any(1)
        if "speech" in self.heads and batch.mel_chunks is not None and batch.mel_chunks_mask is not None:
            assert self.config.speech is not None
            mask, maps = self.prepare_mel_chunks(batch.mel_chunks, batch.mel_chunks_mask, self.config.speech)
            asked = self.ask("speech", features, present, mask)
            features["speech"] = self.encode_maps("speech", maps, mask, asked, auxiliary)
            present["speech"] = batch.mel_chunks_mask.any(1)
        if "faces" in self.heads and batch.faces is not None and batch.faces_mask is not None:
            assert self.config.faces is not None
            maps = normalise_faces(batch.faces[batch.faces_mask], self.config.faces)
            asked = self.ask("faces", features, present, batch.faces_mask)
            features["faces"] = self.encode_maps("faces", maps, batch.faces_mask, asked, auxiliary)
            present["faces"] = batch.faces_mask.any(1)
        if not features:
            raise ModelError(
                f"the batch has none of the modalities that the network reads ({', '.join(self.modalities)})"
            )
        logits = {m: self.heads[m](features[m]) for m in self.modalities if m in features}
        contributions = fusion.weigh(self.fusion.weight[0], self.modalities, logits)
        shares = fusion.shares(contributions, present, scales=self.answers_scales)
        fused = fusion.add_up(contributions, present)
        return ModelOutput(fused, logits, present, features, auxiliary, contributions, shares)

    def stored_settings(self) -> FE2EConfig:
        """See `Network`; a hub's text encoder is in them as its architecture."""
        return self.config

    def branch_settings(self, modality: Modality) -> dict[str, Any]:
        """See `HasBranches`."""
        return self.config.model_dump(mode="json")[modality] or {}

    def take_over_branch(self, source: Network, modality: Modality, temperature: float = 1.0) -> None:
        """See `HasBranches`; its weight in the fusion is the source's, divided by the temperature."""
        if not isinstance(source, FE2E):
            raise ConfigError("start_from works within the FE2E and MESM family")
        prefixes = tuple(f"{part}.{modality}." for part in ("encoders", "sequences", "heads"))
        theirs = {name: tensor for name, tensor in source.state_dict().items() if name.startswith(prefixes)}
        own = {name: tensor for name, tensor in self.state_dict().items() if name.startswith(prefixes)}
        branch = self.adapt_branch(theirs, own)
        unfit = [name for name, tensor in branch.items() if name not in own or own[name].shape != tensor.shape]
        if not branch or unfit:
            reason = unfit[0] if unfit else "it has none"
            raise ConfigError(f"its {modality} branch does not fit this network ({reason})")
        self.load_state_dict(branch, strict=False)
        weight = source.fusion.weight[0, source.modalities.index(modality)] / temperature
        with torch.no_grad():
            self.fusion.weight[0, self.modalities.index(modality)] = weight

    def adapt_branch(self, theirs: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of another network's branch by this network's names; those of FE2E fit as they are."""
        return theirs

    def count_operations(self, batch: Batch) -> tuple[StageCost, ...]:
        """See `CountsOperations`."""
        return count(self, batch)

    def check_teacher(self, teacher: Network) -> None:
        """See `ComparesEncodings`: branches in common, as wide, that look at the same mel chunks."""
        remedy = "Set training.distill_encoded to 0."
        if not isinstance(teacher, FE2E):
            raise ConfigError("only FE2E and MESM show their encodings of a frame or mel chunk", remedy=remedy)
        shared = [m for m in ("faces", "speech") if m in teacher.heads and m in self.heads]
        if not shared:
            raise ConfigError("has no branch for faces or speech in common with the network", remedy=remedy)
        pairs: list[tuple[str, Any, Any]] = [("dim", teacher.config.dim, self.config.dim)]
        if "speech" in shared:
            assert teacher.config.speech is not None
            assert self.config.speech is not None
            pairs += [("speech.silence_db", teacher.config.speech.silence_db, self.config.speech.silence_db)]
        for name, theirs, own in pairs:
            if theirs != own:
                raise ConfigError(
                    f"has {name} {theirs}, the network {own}, so their frames and mel chunks are not alike",
                    remedy=f"Give the network {name} {theirs}.",
                )

    def prepare_mel_chunks(self, mel_chunks: Tensor, mask: Tensor, config: BranchConfig) -> tuple[Tensor, Tensor]:
        """Mask ``(batch, mel_chunks)`` of the mel chunks to look at, closed up to the front, and these, normalised."""
        valid = mel_chunks[mask]
        owner = mask.nonzero(as_tuple=True)[0]
        maps = normalise_mel_chunks(valid, owner, len(mask), config)
        if config.silence_db is not None:
            audible = audible_mel_chunks(valid, owner, len(mask), config.silence_db)
            maps = maps[audible]
            kept = torch.bincount(owner[audible], minlength=len(mask))
            mask = torch.arange(mask.shape[1], device=mask.device) < kept.unsqueeze(1)
        return mask, maps

    def encode_maps(
        self, modality: Modality, maps: Tensor, mask: Tensor, asked: Tensor | None, auxiliary: dict[str, Tensor]
    ) -> Tensor:
        """Valid frames or mel chunks ``(n, channels, h, w)`` to one vector a clip, ``(batch, dim)``."""
        encoded, shown = self.read_maps(modality, maps, asked)
        if modality == "faces" and not self.training:
            encoded = self.test_time_augment(encoded, maps, asked, (mask.sum(1) == 1)[mask.nonzero(as_tuple=True)[0]])
        auxiliary.update(shown)
        auxiliary[encodings_name(modality)] = encoded
        summary: Tensor = self.sequences[modality](scatter_valid(encoded, mask), mask)
        return summary

    def ask(
        self, modality: Modality, features: dict[str, Tensor], present: dict[Modality, Tensor], mask: Tensor
    ) -> Tensor | None:
        """What each valid frame or mel chunk is asked, ``(n, query)``; nothing here, MESM asks with the words.

        Args:
            modality: of the frames or mel chunks.
            features: of the modalities that were read before, ``(batch, dim)`` each.
            present: which clips have them.
            mask: of the frames or mel chunks, ``(batch, length)``.
        """
        return None

    def read_maps(self, modality: Modality, maps: Tensor, asked: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Maps ``(n, channels, h, w)`` through their CNN, ``(n, dim)``, and what to show of it."""
        return self.encoders[modality](maps), {}

    def test_time_augment(self, encoded: Tensor, maps: Tensor, asked: Tensor | None, alone: Tensor) -> Tensor:
        """The mean of what faces say as they are, ``encoded (n, dim)``, mirrored and zoomed, as the settings ask.

        Args:
            encoded: what the faces said, ``(n, dim)``.
            maps: the faces, ``(n, channels, h, w)``.
            asked: see `ask`.
            alone: which are their clip's only face, ``(n,)`` bool.
        """
        branch = self.config.faces
        assert branch is not None

        def with_mirrored(said: Tensor, maps: Tensor, asked: Tensor | None) -> Tensor:
            return (said + self.read_maps("faces", maps.flip(-1), asked)[0]) / 2 if branch.mirror else said

        encoded = with_mirrored(encoded, maps, asked)
        if branch.zooms and bool(alone.any()):
            question = None if asked is None else asked[alone]
            views = [encoded[alone]]
            for zoom in branch.zooms:
                view = zoomed(maps[alone], zoom)
                views.append(with_mirrored(self.read_maps("faces", view, question)[0], view, question))
            encoded = encoded.index_put((alone,), torch.stack(views).mean(0))
        return encoded


MODELS.register("fe2e")(ModelKind(FE2EConfig, FE2E, "FE2E: dense end-to-end network (Dai et al. 2021)"))
