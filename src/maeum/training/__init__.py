"""The training loop: knows tensors, not corpora."""
