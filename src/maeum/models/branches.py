"""What FE2E and MESM share: a branch for each modality, logits of each branch, and their late fusion.

Dai, Cahyawijaya, Liu, Fung, "Multimodal End-to-End Sparse Model for Emotion Recognition", NAACL 2021, section 3.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Discriminator, Field, Tag, model_validator
from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ConfigError, ModelError
from maeum.media.shapes import FACE_PX, MEL_CHUNK_SHAPE
from maeum.models import fusion
from maeum.models.counting import StageCost, count
from maeum.models.encoders.pretrained_speech import (
    PretrainedSpeech,
    PretrainedSpeechConfig,
    head_input,
    read_present,
)
from maeum.models.encoders.text import TextConfig, build_text_encoder
from maeum.models.layers import SequenceEncoder, check_width, scatter_valid
from maeum.models.maps import (
    Norm,
    audible_mel_chunks,
    normalise_faces,
    normalise_mel_chunks,
    zoomed,
)
from maeum.models.network import (
    ComparesEncodings,
    CountsOperations,
    HasBranches,
    HasFrozenEncoders,
    InputNeeds,
    Network,
    encodings_name,
)
from maeum.types import MODALITIES, Batch, Modality, ModelOutput

#: Where the parts of each branch are: ``encoders.speech`` and so on.
BRANCH_PARTS = ("encoders", "sequences", "heads")
Size = Annotated[int, Field(ge=1, le=16_384)]
#: How many layers are stacked, or how many heads an attention has.
Count = Annotated[int, Field(ge=1, le=256)]
#: Map sizes of the CNNs are halved so many times on the way to their flattened map.
_HALVINGS = 4


class TransformerConfig(Config):
    """The transformer over a clip's frames or mel chunks."""

    layers: Count = 4
    """Encoder layers."""
    heads: Count = 4
    """Attention heads; they divide the network's ``dim``."""
    feedforward: Size = 2048
    """Width of the feed-forward layers."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout inside the layers while training."""
    positions: bool = True
    """Add sinusoidal positions, so that the order of frames counts. The published networks have none."""


class BranchConfig(Config):
    """The branch that reads faces or mel chunks: a CNN for each of them and a transformer over all."""

    kind: Literal["cnn"] = "cnn"
    """Which branch: this one."""
    widths: tuple[Size, Size, Size, Size] = (64, 128, 256, 512)
    """Channels of the stem and of the three VGG blocks after it."""
    stem_blocks: int = Field(default=2, ge=0, le=64)
    """VGG blocks in the stem."""
    hidden: Size = 1024
    """Width of the layer between the flattened map and the network's ``dim``."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before and after the hidden layer while training."""
    map_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of whole channels dropped between the blocks while training."""
    norm: Norm = "published"
    """How maps are normalised. ``published``: faces by the paper's mean and deviation, mel chunks as they come.
    ``each``: every face by itself; every utterance's log-mel relative to its loudest bin, so that its level does not
    matter. For mel chunks also ``bands``: relative to each mel band's mean over the loud frames, so that neither level
    nor the channel's frequency response matters; and ``both``: ``each`` and ``bands`` as two channels."""
    grey: bool = False
    """Read faces by their luminance alone."""
    mirror: bool = False
    """Outside training, encode every face and its mirror image, and take the mean of the two."""
    zooms: tuple[Annotated[float, Field(ge=0.1, le=10)], ...] = ()
    """Outside training, encode a face that is its clip's only one at these zooms as well (below 1 it is smaller), and
    take the mean. Several faces of a clip differ enough by themselves."""
    range_db: float = Field(default=80.0, gt=0, le=200)
    """Log-mel further than this below an utterance's loudest bin is floor, in dB; not for ``published``."""
    shrink: tuple[Size, Size] = (1, 1)
    """So many mel bands and frames of a mel chunk are averaged into one before the CNN."""
    silence_db: float | None = Field(default=None, ge=0, le=200)
    """Mel chunks that stay so many dB below the utterance's loudest frame are left out; None reads all."""
    transformer: TransformerConfig = TransformerConfig()
    """The transformer over the encoded frames or mel chunks."""


def _kind(branch: Any) -> str:
    """Which kind of speech branch plain data describe: a CNN unless they say another."""
    kind = branch.get("kind", "cnn") if isinstance(branch, Mapping) else getattr(branch, "kind", "cnn")
    return str(kind)


SpeechBranchConfig = Annotated[
    Annotated[BranchConfig, Tag("cnn")] | Annotated[PretrainedSpeechConfig, Tag("pretrained")], Discriminator(_kind)
]


class BranchesConfig(Config):
    """Settings of a network of branches. A branch that is None does not exist."""

    labels: Size
    """How many labels or scales it answers with; filled in from the corpus."""
    dim: Size = 64
    """Width of an encoded frame or mel chunk, and of the transformers over them."""
    faces: BranchConfig | None = BranchConfig()
    """The branch for faces."""
    speech: SpeechBranchConfig | None = BranchConfig()
    """The branch for speech: a CNN of mel chunks, or (``kind: pretrained``) the layers of an encoder that reads the
    wave."""
    text: TextConfig | None = None
    """The branch for text: a small encoder, or one of the hub."""

    @model_validator(mode="after")
    def _widths_fit(self) -> Self:
        for branch in (self.faces, self.mel_branch):
            if branch is not None:
                check_width(self.dim, branch.transformer.heads, positions=branch.transformer.positions)
        mel = self.mel_branch
        if mel is not None and min(flat_shape(map_form("speech", mel)[1])) < 1:
            raise ValueError(f"speech.shrink {list(mel.shrink)} leaves nothing of a mel chunk for the CNN")
        if self.faces is not None and self.faces.norm in ("bands", "both"):
            raise ValueError(f"faces.norm is published or each, not {self.faces.norm}")
        return self

    @property
    def mel_branch(self) -> BranchConfig | None:
        """The speech branch, where it is a CNN of mel chunks."""
        return self.speech if isinstance(self.speech, BranchConfig) else None


def map_form(modality: Modality, branch: BranchConfig) -> tuple[int, tuple[int, int]]:
    """Channels and (height, width) of a branch's maps as `normalise_faces` and `normalise_mel_chunks` give them."""
    if modality == "faces":
        return 1 if branch.grey else 3, (FACE_PX, FACE_PX)
    shape = (MEL_CHUNK_SHAPE[0] // branch.shrink[0], MEL_CHUNK_SHAPE[1] // branch.shrink[1])
    return 2 if branch.norm == "both" else 1, shape


def flat_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the map that is flattened, for maps of (height, width)."""
    return shape[0] >> _HALVINGS, shape[1] >> _HALVINGS


def projection(config: BranchConfig, shape: tuple[int, int], dim: int) -> nn.Sequential:
    """The layers from a flattened map of (height, width), of the last width, to ``dim``."""
    return nn.Sequential(
        nn.Dropout(config.dropout),
        nn.Linear(config.widths[-1] * shape[0] * shape[1], config.hidden),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.hidden, dim),
    )


class BranchNetwork(Network, HasBranches, HasFrozenEncoders, CountsOperations, ComparesEncodings):
    """Each modality through its own branch to its own logits, which are weighted and added.

    A branch for faces or speech encodes every valid frame or mel chunk by a CNN (``encoders``), summarises them by a
    transformer (``sequences``) and gives logits (``heads``); text has an encoder and a head. Text is read first, then
    speech, then faces, so that a subclass can let what was read attend to what follows.

    A pretrained speech branch reads the wave instead: its vector of the utterance and a layer stand in the place of CNN
    and transformer.

    Inputs: a `Batch` with any of ``faces``, ``mel_chunks`` (or ``wave``) and ``tokens``.
    Outputs: logits ``(batch, labels)``; ``features[modality]``, each branch's summary, ``(batch, dim)``;
    ``auxiliary["faces.encoded"]`` and ``["speech.encoded"]``, the encodings of valid frames and mel chunks in their
    order, ``(n, dim)``.

    A subclass defines `build_map_encoder` and `encode_maps`.

    Raises:
        ModelError: when there is no branch at all, or a batch has none of the modalities that the network reads.
    """

    def __init__(self, config: BranchesConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.encoders = nn.ModuleDict()
        self.sequences = nn.ModuleDict()
        self.heads = nn.ModuleDict()
        if config.text is not None:  # first: the encoders of maps may depend on its width
            text_encoder = build_text_encoder(config.text)
            self.config = config = config.model_copy(update={"text": text_encoder.config})
            self.encoders["text"] = text_encoder
            self.heads["text"] = nn.Linear(text_encoder.dim, config.labels)
            self.input_needs = InputNeeds(max_tokens=text_encoder.longest, vocabulary=text_encoder.vocabulary)
        if isinstance(config.speech, PretrainedSpeechConfig):
            voice = PretrainedSpeech(config.speech)
            self.config = config = config.model_copy(update={"speech": voice.config})
            self.encoders["speech"] = voice
            drop = voice.config.dropout
            self.sequences["speech"] = nn.Sequential(
                *head_input(voice.config, voice.width), nn.Linear(voice.width, dim), nn.GELU(), nn.Dropout(drop)
            )
            self.heads["speech"] = nn.Linear(dim, config.labels)
            self.input_needs = replace(self.input_needs, sound="wave")
        branches: tuple[tuple[Modality, BranchConfig | None], ...] = (
            ("faces", config.faces),
            ("speech", config.mel_branch),
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
        self.modalities = tuple(m for m in MODALITIES if m in self.heads)
        maps: dict[Modality, BranchConfig | None] = {"faces": config.faces, "speech": config.mel_branch}
        self.auxiliary_names = frozenset(encodings_name(m) for m, branch in maps.items() if branch is not None)
        self.fusion = nn.Linear(len(self.modalities), 1, bias=False)
        nn.init.ones_(self.fusion.weight)

    @abstractmethod
    def build_map_encoder(self, modality: Modality, branch: BranchConfig) -> nn.Module:
        """The CNN of one branch; it has ``stem``, ``blocks`` and ``project``, by which its operations are counted."""

    @abstractmethod
    def encode_maps(self, modality: Modality, maps: Tensor, query: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Encode the valid frames or mel chunks.

        Args:
            modality: what they are.
            maps: ``(n, channels, h, w)``.
            query: see `attention_query`.

        Returns:
            ``(n, dim)``, and what to add to ``auxiliary``.
        """

    def attention_query(
        self, modality: Modality, features: Mapping[str, Tensor], present: Mapping[Modality, Tensor], mask: Tensor
    ) -> Tensor | None:
        """The query with which each valid frame or mel chunk is attended to, ``(n, width)``; None without attention.

        Args:
            modality: of the frames or mel chunks.
            features: of the modalities that were read before, ``(batch, width)`` each.
            present: which clips have them, ``(batch,)`` bool.
            mask: of the frames or mel chunks, ``(batch, length)`` bool.
        """
        return None

    def forward(self, batch: Batch) -> ModelOutput:
        """See `Network.forward`."""
        features: dict[str, Tensor] = {}
        present: dict[Modality, Tensor] = {}
        auxiliary: dict[str, Tensor] = {}
        if "text" in self.heads and batch.tokens is not None and batch.tokens_mask is not None:
            features["text"] = self.encoders["text"](batch.tokens, batch.tokens_mask)
            present["text"] = batch.tokens_mask.any(1)
        if isinstance(self.config.speech, PretrainedSpeechConfig):
            found = self.encoders["speech"](batch)
            if found is not None:
                features["speech"], present["speech"] = read_present(self.sequences["speech"], *found), found[1]
        elif "speech" in self.heads and batch.mel_chunks is not None and batch.mel_chunks_mask is not None:
            mask, maps = self.audible_maps(batch.mel_chunks, batch.mel_chunks_mask)
            query = self.attention_query("speech", features, present, mask)
            features["speech"] = self._summarise("speech", maps, mask, query, auxiliary)
            present["speech"] = batch.mel_chunks_mask.any(1)
        if "faces" in self.heads and batch.faces is not None and batch.faces_mask is not None:
            maps = self.face_maps(batch.faces[batch.faces_mask])
            query = self.attention_query("faces", features, present, batch.faces_mask)
            features["faces"] = self._summarise("faces", maps, batch.faces_mask, query, auxiliary)
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

    def face_maps(self, faces: Tensor) -> Tensor:
        """Valid faces ``(n, 3, h, w)``, 0..255, as the CNN reads them, ``(n, 1 or 3, h, w)``."""
        branch = self.config.faces
        assert branch is not None
        return normalise_faces(faces, branch.norm, grey=branch.grey)

    def audible_maps(self, mel_chunks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The mel chunks that are read, as the CNN reads them, without those that are silent.

        Args:
            mel_chunks: ``(batch, length, 1, 128, 32)``.
            mask: which are valid, ``(batch, length)`` bool.

        Returns:
            Mask ``(batch, length)`` of those that are read, moved to the front, and their maps ``(n, channels, h, w)``.
        """
        branch = self.config.mel_branch
        assert branch is not None
        valid = mel_chunks[mask]
        owner = mask.nonzero(as_tuple=True)[0]
        maps = normalise_mel_chunks(
            valid, owner, len(mask), branch.norm, range_db=branch.range_db, shrink=branch.shrink
        )
        if branch.silence_db is not None:
            audible = audible_mel_chunks(valid, owner, len(mask), branch.silence_db)
            maps = maps[audible]
            counts = torch.bincount(owner[audible], minlength=len(mask))
            mask = torch.arange(mask.shape[1], device=mask.device) < counts.unsqueeze(1)
        return mask, maps

    def _summarise(
        self, modality: Modality, maps: Tensor, mask: Tensor, query: Tensor | None, auxiliary: dict[str, Tensor]
    ) -> Tensor:
        """Valid frames or mel chunks ``(n, channels, h, w)`` to one vector a clip, ``(batch, dim)``."""
        encoded, shown = self.encode_maps(modality, maps, query)
        if modality == "faces" and not self.training:
            single = (mask.sum(1) == 1)[mask.nonzero(as_tuple=True)[0]]
            encoded = self._test_time_augment(encoded, maps, query, single)
        auxiliary.update(shown)
        auxiliary[encodings_name(modality)] = encoded
        summary: Tensor = self.sequences[modality](scatter_valid(encoded, mask), mask)
        return summary

    def _test_time_augment(self, encoded: Tensor, maps: Tensor, query: Tensor | None, single: Tensor) -> Tensor:
        """The mean encoding of faces as they are, mirrored and zoomed, as the settings say.

        Args:
            encoded: of the faces as they are, ``(n, dim)``.
            maps: the faces, ``(n, channels, h, w)``.
            query: see `attention_query`.
            single: which are their clip's only face, ``(n,)`` bool.
        """
        branch = self.config.faces
        assert branch is not None

        def with_mirrored(encoded: Tensor, maps: Tensor, query: Tensor | None) -> Tensor:
            return (encoded + self.encode_maps("faces", maps.flip(-1), query)[0]) / 2 if branch.mirror else encoded

        encoded = with_mirrored(encoded, maps, query)
        if branch.zooms and bool(single.any()):
            query = None if query is None else query[single]
            views = [encoded[single]]
            for zoom in branch.zooms:
                view = zoomed(maps[single], zoom)
                views.append(with_mirrored(self.encode_maps("faces", view, query)[0], view, query))
            encoded = encoded.index_put((single,), torch.stack(views).mean(0))
        return encoded

    def stored_settings(self) -> BranchesConfig:
        """See `Network`; a hub's text encoder is in them as its architecture."""
        return self.config

    def frozen_speech_encoder(self) -> PretrainedSpeech | None:
        """See `HasFrozenEncoders`."""
        encoder = self.encoders["speech"] if "speech" in self.modalities else None
        return encoder if isinstance(encoder, PretrainedSpeech) and encoder.kept_states is not None else None

    def branch_settings(self, modality: Modality) -> dict[str, Any]:
        """See `HasBranches`."""
        return self.config.model_dump(mode="json")[modality] or {}

    def take_over_branch(self, source: Network, modality: Modality, temperature: float = 1.0) -> None:
        """See `HasBranches`; its weight in the fusion is the source's, divided by the temperature."""
        if not isinstance(source, BranchNetwork):
            raise ConfigError("start_from works within the FE2E and MESM family")
        theirs, own = source.branch_weights(modality), self.branch_weights(modality)
        branch = self.adapt_branch(theirs, own)
        unfit = [name for name, tensor in branch.items() if name not in own or own[name].shape != tensor.shape]
        if not branch or unfit:
            reason = unfit[0] if unfit else "it has none"
            raise ConfigError(f"its {modality} branch does not fit this network ({reason})")
        self.load_state_dict(branch, strict=False)
        weight = source.fusion.weight[0, source.modalities.index(modality)] / temperature
        with torch.no_grad():
            self.fusion.weight[0, self.modalities.index(modality)] = weight

    def branch_weights(self, modality: Modality) -> dict[str, Tensor]:
        """See `BranchesStandAlone`; empty where there is no such branch."""
        prefixes = tuple(f"{part}.{modality}." for part in BRANCH_PARTS)
        return {name: tensor for name, tensor in self.state_dict().items() if name.startswith(prefixes)}

    def adapt_branch(self, theirs: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of another network's branch by this network's names."""
        return theirs

    def count_operations(self, batch: Batch) -> tuple[StageCost, ...]:
        """See `CountsOperations`."""
        return count(self, batch)

    def check_teacher(self, teacher: Network) -> None:
        """See `ComparesEncodings`: branches in common, as wide, that leave out the same mel chunks."""
        remedy = "Leave training.losses.encoding-distillation out."
        if not isinstance(teacher, BranchNetwork):
            raise ConfigError("only FE2E and MESM show their encodings of a frame or mel chunk", remedy=remedy)
        shared = sorted(teacher.auxiliary_names & self.auxiliary_names)
        if not shared:
            raise ConfigError("has no branch for faces or speech in common with the network", remedy=remedy)
        pairs: list[tuple[str, Any, Any]] = [("dim", teacher.config.dim, self.config.dim)]
        own, theirs = self.config.mel_branch, teacher.config.mel_branch
        if own is not None and theirs is not None:
            pairs += [("speech.silence_db", theirs.silence_db, own.silence_db)]
        for name, value, wanted in pairs:
            if value != wanted:
                raise ConfigError(
                    f"has {name} {value}, the network {wanted}, so their frames and mel chunks are not alike",
                    remedy=f"Give the network {name} {value}.",
                )
