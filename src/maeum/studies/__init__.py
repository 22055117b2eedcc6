"""Several trainings that answer a question: comparisons, ablations, a paper's tables and figures."""
