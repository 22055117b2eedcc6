"""Networks: a Batch in, a ModelOutput out; no losses, no files, no corpora."""
