"""Sparse operators; `reference` defines what is correct."""
