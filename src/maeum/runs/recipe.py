"""A training run as data: what is read, what is built, how it is trained. Written beside what it made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from maeum.config import Config
from maeum.corpora.splits import OfficialSplit, SplitConfig
from maeum.corpora.targets import Target
from maeum.data.feed import AugmentConfig
from maeum.inputs.settings import InputSettings
from maeum.training.config import TrainConfig
from maeum.types import Modality


def network_section(model: Any) -> dict[str, type[BaseModel]]:
    """The class of the settings that stand under ``network`` beside ``model: NAME``; none for an unknown name."""
    from maeum.models.networks import MODELS  # takes a while, and is needed where a setting is wrong

    return {"network": MODELS[model].config} if isinstance(model, str) and model in MODELS else {}


class DataConfig(Config):
    """Items of a prepared corpus."""

    store: Path
    """Folder of the prepared corpus (`maeum prepare`)."""
    views: Path | None = None
    """Folder of the augmented views (`maeum augment`) of the same corpus. They are read in training only; none when
    null."""
    transcripts: Path | None = None
    """File of recognised words (`maeum transcribe`) that are read instead of the store's own; the store's own when
    null."""
    modalities: tuple[Modality, ...] | None = Field(default=None, min_length=1)
    """Which modalities are read; all that the store has when null."""
    sessions: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Use the items of these sessions, such as Session1, whatever part they are in; all sessions when null."""


class SmallTokenizerConfig(Config):
    """A sentencepiece vocabulary learned from the training texts."""

    kind: Literal["small"] = "small"
    vocabulary: int = Field(default=8000, ge=2, le=1_000_000)
    """Number of different tokens at most. The text branch of the network needs at least as many (``vocabulary``)."""


class HubTokenizerConfig(Config):
    """The tokenizer of a Hugging Face model."""

    kind: Literal["hub"] = "hub"
    pretrained: str
    """Name of the model on the hub, or its folder."""


TokenizerConfig = Annotated[SmallTokenizerConfig | HubTokenizerConfig, Field(discriminator="kind")]


class Recipe(Config):
    """All settings of a run."""

    name: str
    """Name of the trained model, on its card and in reports."""
    model: str = "fe2e"
    """The network, by the name under which it is registered; `maeum settings` lists them."""
    network: dict[str, Any] = Field(default_factory=dict)
    """Settings of the network; `maeum settings NETWORK` lists them. The number of labels is filled in from the data."""
    train: tuple[DataConfig, ...]
    """Prepared corpora whose part train is trained on."""
    dev: tuple[DataConfig, ...]
    """Prepared corpora whose part dev decides which epoch is kept, and fits the calibration."""
    split: SplitConfig = OfficialSplit()
    """Which utterance is in which part; by default the parts that the corpus itself gives."""
    allow_overlap: bool = False
    """Train although parts share speakers, dialogues, recordings or contents; every score then names what they share.
    Otherwise such a split is refused."""
    target: str | Target | None = None
    """What is predicted: a target that the corpus names (IEMOCAP: six-class, four-class, dimensions) or one described
    here; the corpus' labels as they are when null."""
    start_from: dict[Modality, Path] = Field(default_factory=dict)
    """Modality -> folder of a trained model whose branch (settings, weights, tokenizer) training starts from. Settings
    of that branch in ``network`` have precedence."""
    teacher: Path | None = None
    """Folder of a trained model whose outputs are learned beside the labels (knowledge distillation), weighted by
    the losses distillation and encoding-distillation. Its tokenizer is used."""
    tokenizer: TokenizerConfig | None = None
    """Tokenizer of the text branch; a network without one needs none, and one that is taken over brings its own."""
    training: TrainConfig = TrainConfig()
    """How the network is trained."""
    augment: AugmentConfig = AugmentConfig()
    """How training items are varied; not at all by default."""
    inputs: InputSettings = InputSettings()
    """How recordings become the network's input. Kept with the model, which reads every recording in the same way."""
    cache_text: bool = False
    """Compute the output of a frozen text encoder once for each text and keep it in the store's folder ``cache``.
    Texts that vary every time (``augment.view``) are computed every time."""
    cache_speech: bool = False
    """Compute the output of the frozen part of a speech encoder once for each sound and keep it in the store's folder
    ``cache``. A second of sound takes about 100 KB with the convolutions of wav2vec2, 256 KB with four frozen layers
    of Whisper-base, and nothing to speak of where these are pooled as ``each``. Sounds that vary every time are
    computed every time."""
    balance: float = Field(default=0.0, ge=0, le=1)
    """How far training batches even out the classes: with 0 each item is drawn once an epoch, with 1 all classes are
    drawn equally often; between them a class is drawn in proportion to count ** (1 - balance)."""
    score: str = "uar"
    """Metric on dev by which the best epoch is chosen."""
    tensorboard: bool = False
    """Also write training curves to the run's folder ``tensorboard`` (needs the extra ``track``)."""
    intended_use: str = ""
    """What the model is meant for; goes on its card."""
    limits: str = ""
    """What the model must not be used for, or cannot do; goes on its card."""

    @classmethod
    def sections(cls, data: Mapping[str, Any]) -> Mapping[str, type[BaseModel]]:
        """See `Config`."""
        return network_section(data.get("model", cls.model_fields["model"].default))

    def cached(self) -> tuple[Modality, ...]:
        """The modalities of which a frozen encoder's outputs are kept."""
        kept: dict[Modality, bool] = {"speech": self.cache_speech, "text": self.cache_text}
        return tuple(modality for modality, on in kept.items() if on)

    def learns_from(self) -> tuple[Path, ...]:
        """Folders of the models that training starts from or is taught by."""
        return tuple(dict.fromkeys((*self.start_from.values(), *(() if self.teacher is None else (self.teacher,)))))
