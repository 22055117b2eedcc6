"""The augmented contrast: an utterance near its own augmented view, far from those of others."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from maeum.errors import ConfigError
from maeum.models.network import VIEW_PROJECTION
from maeum.training.losses.base import LOSSES, BatchOutputs, Loss, LossValue
from maeum.training.losses.contrast import ContrastConfig, check_contrast, products, projection_of, unit_vectors
from maeum.training.losses.published import published_augmented_contrastive
from maeum.types import Batch


@LOSSES.register("augmented-contrastive")
class AugmentedContrastive(Loss[ContrastConfig]):
    """Brings an utterance and its augmented view together (Ghosh et al. 2023: weight 0.1)."""

    Config = ContrastConfig
    needs_views = True

    def check(self) -> None:
        """See `Loss`."""
        check_contrast(self.setup, "augmented-contrastive")
        if not self.setup.has_views:
            raise ConfigError(
                "the loss 'augmented-contrastive' has a weight, but utterances have no augmented views",
                remedy="Set augment.view, or give train data a store of `maeum augment` as views, or leave the loss "
                "out.",
            )

    def __call__(self, batch: Batch, outputs: BatchOutputs) -> LossValue:
        """See `Loss`; 0 for a batch without augmented views."""
        if outputs.views is None or batch.has_view is None:
            return LossValue(outputs.output.logits.new_zeros(()))
        features = projection_of(outputs.output)[batch.has_view]
        views = projection_of(outputs.views, VIEW_PROJECTION)
        contrast = augmented_contrastive if self.config.form == "standard" else published_augmented_contrastive
        loss = contrast(features, views, self.config.temperature)
        return LossValue(loss, {"augmented": float(loss.detach())})


def augmented_contrastive(features: Tensor, views: Tensor, temperature: float = 0.07) -> Tensor:
    """Symmetric InfoNCE: an utterance nearer to its own augmented view than to those of others, and the other way
    round.

    NT-Xent between two views (Chen et al., ICML 2020), as Ghosh et al. 2023 use it between an utterance and the same
    content in other words and another voice.

    Args:
        features: of utterances, ``(n, d)``. One has nothing to be told apart from: 0.
        views: of their augmented views, in the same order, ``(n, d)``.
        temperature: of the softmax.
    """
    similarity = products(unit_vectors(features), unit_vectors(views)) / temperature
    own = torch.arange(len(similarity), device=similarity.device)
    return (F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)) / 2
