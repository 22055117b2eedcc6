"""Sparse operators: `reference` defines what is correct; `operators` gives the quickest form that is at hand."""

from maeum.sparse.base import AttentionWeights, ConvNorm, ReferenceOps
from maeum.sparse.dispatch import operators
from maeum.sparse.portable_ops import PortableOps

__all__ = ["AttentionWeights", "ConvNorm", "PortableOps", "ReferenceOps", "operators"]
