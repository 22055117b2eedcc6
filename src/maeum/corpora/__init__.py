"""Where each corpus keeps its files and what its labels mean."""
