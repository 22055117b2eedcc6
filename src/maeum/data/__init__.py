"""The prepared corpus on disk, and the way from it to batches."""
