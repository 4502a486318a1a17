"""Checkpoints in, GGUF and ONNX files out."""
