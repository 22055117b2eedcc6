"""What every network is: the modalities it reads, what it needs of its inputs, and a forward pass to a `ModelOutput`.

What only some networks can do is an ability: a class of this module that a network inherits from beside `Network`.
Whoever wants the ability asks `isinstance(network, CountsOperations)`; no other attribute of a network has a meaning.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from maeum.config import Config
from maeum.errors import ModelError
from maeum.models.counting import StageCost
from maeum.types import Batch, Modality, ModelOutput, Sound

if TYPE_CHECKING:
    from maeum.models.encoders.pretrained_speech import PretrainedLayers
    from maeum.models.encoders.speech import HubSpeechEncoder
    from maeum.models.encoders.text import HubTextEncoder, TokenEmbedder

#: Names in ``ModelOutput.auxiliary`` that losses and studies read; see `Network.auxiliary_names`.
CTC_LOGITS = "ctc.logits"  # (batch, frames, characters)
CTC_MASK = "ctc.mask"  # (batch, frames) bool
PROJECTION = "projection"  # (batch, width), what is contrasted of an utterance
VIEW_PROJECTION = "view_projection"  # (batch, width), of an utterance that is another one's augmented view


def encodings_name(modality: Modality) -> str:
    """Name in ``ModelOutput.auxiliary`` of the encoded valid frames or mel chunks, ``(n, dim)`` in their order."""
    return f"{modality}.encoded"


@dataclass(frozen=True)
class InputNeeds:
    """What a network needs of its inputs, beside its modalities."""

    sound: Sound = "mel_chunks"
    """What its speech branch reads."""
    max_tokens: int | None = None
    """The longest text it reads, in tokens; None reads texts of any length."""
    vocabulary: int | None = None
    """How many token ids it knows; None knows any."""


class Network(nn.Module, ABC):
    """A network from a `Batch` to a `ModelOutput`.

    A subclass sets ``modalities`` and defines `forward`; what else is declared here has a default. Attributes of other
    names mean nothing to the rest of maeum.

    A clip may lack any modality; a clip without any that the network reads gets zeros as logits. An answer about a clip
    depends neither on padding nor on the other clips of its batch (tests/contracts/test_models.py).
    """

    modalities: tuple[Modality, ...]
    """The modalities it reads, in the order of `maeum.types.MODALITIES`."""
    input_needs: InputNeeds = InputNeeds()
    """What it needs of its inputs."""
    auxiliary_names: frozenset[str] = frozenset()
    """Names that ``ModelOutput.auxiliary`` may hold, for losses that need them."""
    answers_scales: bool = False
    """Whether the logits are values on scales, of which 0 is the middle; set for a model of such labels."""
    built_from: Config | None = None
    """The settings that `ModelKind.build` built it from."""

    @abstractmethod
    def forward(self, batch: Batch) -> ModelOutput:
        """Logits ``(batch, labels)``, each modality's own, its share, and what else there is to show.

        Raises:
            ModelError: when the batch has none of the modalities that the network reads.
        """

    if TYPE_CHECKING:

        def __call__(self, batch: Batch) -> ModelOutput:
            """See `forward`."""

    def stored_settings(self) -> Config:
        """Settings that build this network again without a hub; they are written beside its weights.

        Raises:
            ModelError: when it was not built by its `ModelKind`, and does not say them itself.
        """
        if self.built_from is None:
            raise ModelError(
                f"{type(self).__name__} does not know the settings that it was built from",
                remedy="Build it with MODELS[name].build(settings), or define stored_settings().",
            )
        return self.built_from


class TranscribesSpeech(ABC):
    """Ability: a CTC head recognises the words of speech."""

    @property
    @abstractmethod
    def characters(self) -> tuple[str, ...]:
        """The symbols of the CTC head, the blank first; empty for a network that was built without the head."""

    @abstractmethod
    def transcribe(self, batch: Batch) -> list[str]:
        """The recognised words of each clip, empty where it has no speech."""

    @classmethod
    @abstractmethod
    def settings_for_texts(cls, settings: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
        """The settings with the characters of the training's transcripts, where they name none."""


def transcriber(network: Network) -> TranscribesSpeech | None:
    """The network, if it was built with a head that recognises words."""
    return network if isinstance(network, TranscribesSpeech) and network.characters else None


class HasBranches(ABC):
    """Ability: each modality has a branch of its own, which another training can start from."""

    @abstractmethod
    def branch_settings(self, modality: Modality) -> dict[str, Any]:
        """The settings of one branch as plain data; empty where there is none."""

    @abstractmethod
    def take_over_branch(self, source: Network, modality: Modality, temperature: float = 1.0) -> None:
        """Copy one branch of another network, and how much it counts in the fused answer.

        Args:
            source: the other network.
            modality: which branch.
            temperature: of the source's calibration for that modality alone.

        Raises:
            ConfigError: when the branch does not fit.
        """


class BranchesStandAlone(ABC):
    """Ability: some of its branches make a network of the same class, without the weights of the others."""

    @classmethod
    @abstractmethod
    def only_branches(
        cls, settings: Mapping[str, Any], weights: Mapping[str, Tensor], modalities: Sequence[Modality]
    ) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The stored settings and weights of a network that has some of the branches alone.

        Args:
            settings: of the whole network, as it is built from them.
            weights: of the whole network.
            modalities: at least one, all of them its own.
        """

    @abstractmethod
    def branch_weights(self, modality: Modality) -> dict[str, Tensor]:
        """The weights of one branch by their names, without how much it counts beside others."""


class HasFrozenEncoders:
    """Ability: encoders whose weights do not learn, so that their outputs can be computed once and cached."""

    def frozen_text_encoder(self) -> TokenEmbedder | HubTextEncoder | None:
        """The text encoder, if it is frozen: a batch's ``vectors`` then stand in the place of its outputs."""
        return None

    def frozen_speech_encoder(self) -> HubSpeechEncoder | PretrainedLayers | None:
        """The speech encoder, if a part of it is frozen and makes the same of a sound each time.

        A batch's ``sound_features`` then stand in the place of that part's outputs: the convolutions' of a
        `HubSpeechEncoder`, the frozen layers' of a `PretrainedLayers`.
        """
        return None


class SelectsPositions(ABC):
    """Ability: computes at those positions of faces and mel chunks alone that an attention selects."""

    @property
    @abstractmethod
    def top_p(self) -> float:
        """Attention mass of the positions that each sparse block selects, 0..1. May be set, without training anew."""

    @top_p.setter
    @abstractmethod
    def top_p(self, top_p: float) -> None: ...

    @classmethod
    @abstractmethod
    def fixed_selection_reason(cls, settings: Mapping[str, Any]) -> str | None:
        """Why a network of these settings selects the same share whatever ``top_p`` is; None where it does not."""

    @abstractmethod
    def selected(self, output: ModelOutput, modality: Modality) -> Sequence[Tensor]:
        """Of each sparse block the selected positions of valid frames or mel chunks, ``(n, h, w)`` bool.

        Empty where the batch had none.
        """

    @abstractmethod
    def mel_maps(self, batch: Batch) -> Tensor | None:
        """The valid mel chunks as the sparse blocks get them, ``(n, channels, h, w)``; None without any."""


class CountsOperations(ABC):
    """Ability: knows what its answers cost."""

    @abstractmethod
    def count_operations(self, batch: Batch) -> tuple[StageCost, ...]:
        """Multiply-adds of an answer about a batch, stage by stage; puts the network in eval mode."""


class ComparesEncodings(ABC):
    """Ability: shows its encodings of frames and mel chunks (`encodings_name`), and can learn a teacher's."""

    @abstractmethod
    def check_teacher(self, teacher: Network) -> None:
        """Raise ConfigError when a teacher's encodings are not comparable with this network's."""


__all__ = [
    "CTC_LOGITS",
    "CTC_MASK",
    "PROJECTION",
    "VIEW_PROJECTION",
    "ComparesEncodings",
    "CountsOperations",
    "HasBranches",
    "HasFrozenEncoders",
    "InputNeeds",
    "Network",
    "SelectsPositions",
    "TranscribesSpeech",
    "encodings_name",
    "transcriber",
]
