"""A training run as data: what is read, what is built, how it is trained. Written beside what it made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from maeum.config import Config
from maeum.corpora.splits import OfficialSplit, SplitConfig
from maeum.corpora.targets import Target
from maeum.data.feed import AugmentConfig
from maeum.inputs.settings import InputSettings
from maeum.training.config import TrainConfig
from maeum.types import Modality


class DataConfig(Config):
    """Items of a prepared corpus.

    store: its folder. views: store of the augmented views of `maeum augment`, for training. transcripts: a file of
    `maeum transcribe`, whose words are read instead of the store's. modalities: which to use; all when
    None. sessions: use these, whatever part they are in: the folds of a leave-one-session-out cross-validation.
    """

    store: Path
    views: Path | None = None
    transcripts: Path | None = None
    modalities: tuple[Modality, ...] | None = None
    sessions: tuple[str, ...] | None = None


class SmallTokenizerConfig(Config):
    """A sentencepiece vocabulary learned from the training texts."""

    kind: Literal["small"] = "small"
    vocabulary: int = 8000


class HubTokenizerConfig(Config):
    """The tokenizer of a Hugging Face model: a name on the hub or a folder."""

    kind: Literal["hub"] = "hub"
    pretrained: str


TokenizerConfig = Annotated[SmallTokenizerConfig | HubTokenizerConfig, Field(discriminator="kind")]


class Recipe(Config):
    """All settings of a run.

    name: of the trained model. model: a registered network; network: its settings (the number of labels is filled in).
    train, dev: prepared corpora, of which the parts of these names are used. split: which utterance is in which part
    (`maeum.corpora.splits`); the corpora's own parts by default. allow_overlap: train although parts share speakers,
    dialogues, recordings or contents; every score then says so. target: what is learned of them, by the
    name that a corpus gives it (IEMOCAP: six-class, four-class, dimensions) or spelled out; their labels as they are
    when None. start_from: modality -> model folder whose branch (settings, weights, tokenizer) is taken over; settings
    of the branch in ``network`` come first. teacher: folder of a trained model whose answers are learned beside the
    labels, as ``training.distill`` and ``training.distill_encoded`` weigh them; its tokenizer is taken over.
    cache_text: what a frozen text encoder makes of the corpora's words is computed once, and kept in the stores'
    folder ``cache``. cache_speech: so is what the frozen convolutions of a hub speech encoder hear, 100 KB a second
    of sound with those of wav2vec2. What varies every time, such as augmented views that ``augment.view`` makes, is
    still read.
    balance: see `BucketSampler`. score: the metric on dev that decides. tensorboard: draw the training curves in the
    run's folder ``tensorboard`` too (extra ``track``).
    """

    name: str
    model: str = "fe2e"
    network: dict[str, Any] = Field(default_factory=dict)
    train: tuple[DataConfig, ...]
    dev: tuple[DataConfig, ...]
    split: SplitConfig = OfficialSplit()
    allow_overlap: bool = False
    target: str | Target | None = None
    start_from: dict[Modality, Path] = Field(default_factory=dict)
    teacher: Path | None = None
    tokenizer: TokenizerConfig | None = None
    training: TrainConfig = TrainConfig()
    augment: AugmentConfig = AugmentConfig()
    inputs: InputSettings = InputSettings()
    cache_text: bool = False
    cache_speech: bool = False
    balance: float = 0.0
    score: str = "uar"
    tensorboard: bool = False
    intended_use: str = ""
    limits: str = ""

    def learns_from(self) -> tuple[Path, ...]:
        """Folders of the models that it starts from or is taught by."""
        return tuple(dict.fromkeys((*self.start_from.values(), *(() if self.teacher is None else (self.teacher,)))))
