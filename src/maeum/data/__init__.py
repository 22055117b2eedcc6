"""The prepared corpus on disk, and the way from it to batches."""

from __future__ import annotations

from maeum.data.collate import Collator
from maeum.data.dataset import JointDataset, StoreDataset
from maeum.data.sampler import BucketSampler
from maeum.data.shards import StoreItem
from maeum.data.store import Store
from maeum.data.store_writer import StoreWriter

__all__ = [
    "BucketSampler",
    "Collator",
    "JointDataset",
    "Store",
    "StoreDataset",
    "StoreItem",
    "StoreWriter",
]
