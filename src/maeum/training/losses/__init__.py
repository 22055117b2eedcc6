"""The table of losses; importing it registers the losses of this folder."""

from maeum.training.losses import (
    augmented_contrastive,
    bce,
    concordance,
    cross_entropy,
    ctc,
    distillation,
    encoding_distillation,
    squared_error,
    supervised_contrastive,
)
from maeum.training.losses.base import LOSSES

__all__ = [
    "LOSSES",
    "augmented_contrastive",
    "bce",
    "concordance",
    "cross_entropy",
    "ctc",
    "distillation",
    "encoding_distillation",
    "squared_error",
    "supervised_contrastive",
]
