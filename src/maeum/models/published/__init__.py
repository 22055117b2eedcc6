"""Checkpoints and networks of the papers' published code, for comparison."""
