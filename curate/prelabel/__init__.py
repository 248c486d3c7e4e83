"""Pre-labels: boxes of a dataset or of a detector become masks, as proposals with provenance for people to review."""
