"""A merged checkpoint in, measured GGUF and ONNX INT8 files and a bundle out. Knows nothing of `distill` and `tui`."""

import runtime as runtime  # switches telemetry off before any library of this package is imported
