"""Review of chains of thought: the sheet of correct samples, verdicts read back from it or asked of a model."""
