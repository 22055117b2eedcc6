"""Sparse operators: `reference` defines what is correct; `operators` gives the quickest form that is at hand."""

from maeum.sparse.dispatch import AttentionWeights, ConvNorm, PortableOps, ReferenceOps, operators

__all__ = ["AttentionWeights", "ConvNorm", "PortableOps", "ReferenceOps", "operators"]
