"""Whole runs: train and evaluate on prepared corpora."""
