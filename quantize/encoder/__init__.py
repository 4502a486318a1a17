"""The sentence encoder, exported to INT8 ONNX."""
