"""Checks and measurements of a model: tokenizer parity, the best number of threads."""
