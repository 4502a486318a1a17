"""Transcripts and articles in, a tuned and merged student checkpoint out. Knows nothing of `quantize` and `tui`."""
