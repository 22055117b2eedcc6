"""What every loss is: a file of its own with its settings, its check before a training starts, and its computation.

Losses are a table, `LOSSES`. Siblings register themselves; installed packages add theirs by an entry point in the
group ``maeum.losses``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import Field
from torch import Tensor

from maeum.config import Config
from maeum.errors import ConfigError
from maeum.labels import LabelSet, Task
from maeum.models.network import Network
from maeum.models.pretrained import Pretrained
from maeum.registry import Registry
from maeum.types import Batch, ModelOutput


class LossConfig(Config):
    """Settings that every loss has; a loss with more of them inherits from this."""

    weight: float = Field(default=1.0, ge=0, le=1000)
    """Factor of this loss in the sum that is minimised; 0 leaves it out."""


@dataclass(frozen=True)
class LossSetup:
    """What is known before a training starts: a loss is checked against it, and may be sized from it."""

    label_set: LabelSet
    """The labels that the network learns."""
    network: Network
    """The network that is trained."""
    targets: Tensor | None = None
    """Targets of all training items, ``(items,)`` int64 or ``(items, labels)``; None where nobody counts them."""
    teacher: Pretrained | None = None
    """A trained model whose outputs are learned too."""
    has_views: bool = False
    """Whether training items have augmented views."""
    blends_items: bool = False
    """Whether two training items may be blended into one (``augment.mixup``)."""
    crops_speech: bool = False
    """Whether a stretch of an utterance may stand for the whole (``augment.mel_chunks.window``)."""
    emotion_loss: str = "cross-entropy"
    """Name of the loss between the logits and the labels."""


@dataclass(frozen=True)
class BatchOutputs:
    """Outputs for one batch, for its augmented views, and of the teacher, where there are such."""

    output: ModelOutput
    views: ModelOutput | None = None
    teacher: ModelOutput | None = None


@dataclass(frozen=True)
class LossValue:
    """The value of a loss for one batch, with gradient, and what the log says of it (name -> number)."""

    value: Tensor
    log: Mapping[str, float] = field(default_factory=dict)


C = TypeVar("C", bound=LossConfig)


class Loss(ABC, Generic[C]):
    """One term of the sum that a training minimises.

    Args:
        config: its settings, of the class `Config`.
        setup: what is known of the training.
    """

    Config: ClassVar[type[LossConfig]] = LossConfig
    """The class of its settings."""
    tasks: ClassVar[tuple[Task, ...]] = ("single-label", "multi-label", "dimensional")
    """Kinds of labels that it is for."""
    needs_views: ClassVar[bool] = False
    """Whether the network has to answer for augmented views, too."""
    needs_teacher: ClassVar[bool] = False
    """Whether it compares with the outputs of a teacher."""
    needs_transcripts: ClassVar[bool] = False
    """Whether it reads ``transcript_ids`` of the batch, which only a network with a CTC head can be given."""
    per_label: ClassVar[bool] = False
    """Whether logits are read as one yes or no for each label, instead of as one choice among all."""
    needs_mixed_lengths: ClassVar[bool] = False
    """Whether it is a property of the batch as a whole, so that batches must not hold items of one length only."""

    def __init__(self, config: C, setup: LossSetup) -> None:
        self.config, self.setup = config, setup

    @classmethod
    def check_labels(cls, name: str, label_set: LabelSet) -> None:
        """Raise ConfigError when the loss ``name`` is not for labels of this kind."""
        if label_set.task not in cls.tasks:
            raise ConfigError(
                f"the loss {name!r} is not for {label_set.task} targets, but for {' and '.join(cls.tasks)} ones",
                remedy="Leave it out.",
            )

    def check(self) -> None:
        """Raise ConfigError when the network, the teacher or the data do not have what the loss needs."""

    @abstractmethod
    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """The loss of a batch; `Objective` multiplies it by its weight."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it; most losses have nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` gave."""


LOSSES: Registry[type[Loss[Any]]] = Registry("loss", "maeum.losses")
