"""Transcripts and articles in, a tuned and merged student checkpoint out. Knows nothing of `quantize` and `tui`."""

import runtime as runtime  # switches telemetry off before any library of this package is imported
