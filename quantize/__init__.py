"""A merged checkpoint in, measured GGUF and ONNX INT8 files and a bundle out. Knows nothing of `distill` and `tui`."""
