"""The second runtime: the 8-bit ONNX student through onnxruntime, for machines that llama.cpp does not serve."""

from __future__ import annotations

from runtime.engine.onnx.engine import OnnxEngine

__all__ = ["OnnxEngine"]
