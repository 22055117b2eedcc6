"""Fits how cautious a model's branches are about what is unlike their training data."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from maeum.config import Config
from maeum.data.dataset import StoreDataset
from maeum.data.sampler import BucketSampler
from maeum.data.store import Store
from maeum.errors import ConfigError
from maeum.models.branches import BranchNetwork
from maeum.models.caution import Caution, fit_caution
from maeum.models.pretrained import Pretrained
from maeum.preparation.model_items import items_for
from maeum.runs.predict import collator
from maeum.types import Modality
from maeum.wording import counted

#: Items of a store that are read, drawn with a fixed seed.
_MOST_ITEMS = 8000
_BATCH = 64


class CautionConfig(Config):
    """What a branch is fitted on to be less sure about the unfamiliar; no labels are read."""

    like: tuple[Path, ...] = Field(min_length=1)
    """Stores that the branch was trained on; the first one's part dev sets the bound."""
    unlike: tuple[Path, ...] = Field(min_length=1)
    """Stores of other kinds of items, whose labels are not needed."""
    most: float = Field(default=2.4, ge=1, le=20)
    """The logits of an unfamiliar item are divided by up to this."""
    share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the dev items that are taken for unfamiliar. The larger, the sooner it is cautious."""


def caution_of(source: Pretrained, modality: Modality, config: CautionConfig) -> Caution:
    """Fit the caution of one branch.

    Raises:
        ConfigError: where the network has no such branch, or its labels are not single.
        StoreError: when a store cannot be read.
    """
    if not isinstance(source.model, BranchNetwork) or modality not in source.model.modalities:
        raise ConfigError(f"caution is for a branch of FE2E or MESM, and this network has none for {modality}",
                          item=source.name, remedy="Leave it out.")  # fmt: skip
    if source.label_set.task != "single-label":
        raise ConfigError("caution is for models that give one label", item=source.name, remedy="Leave it out.")

    def vectors(folder: Path, part: str) -> Tensor:
        return _vectors(source, items_for(source, Store(folder), part, (modality,)), modality)

    like = torch.cat([vectors(folder, "train") for folder in config.like])
    unlike = torch.cat([vectors(folder, "train") for folder in config.unlike])
    manifests = [Store(folder).manifest for folder in config.unlike]
    names = " and ".join(str(manifest.get("title", manifest["name"])) for manifest in manifests)
    return fit_caution(
        like,
        unlike,
        vectors(config.like[0], "dev"),
        most=config.most,
        share=config.share,
        data=f"{counted(len(like), 'training item')} against {len(unlike)} of {names}",
    )


@torch.inference_mode()
def _vectors(source: Pretrained, items: StoreDataset, modality: Modality) -> Tensor:
    """The branch's vectors of some items of a store, ``(n, width)``."""
    drawn = torch.randperm(len(items), generator=torch.Generator().manual_seed(0))[:_MOST_ITEMS].tolist()
    collate = collator(source.tokenizer, source.settings)
    device = next(source.model.parameters()).device
    lengths, rows = items.lengths, []
    for batch in BucketSampler([lengths[i].cost for i in drawn], _BATCH, shuffle=False).batches(0):
        output = source.model(collate([items[drawn[i]] for i in batch]).to(device))
        rows.append(output.features[modality].float().cpu())
    return torch.cat(rows).clone()
