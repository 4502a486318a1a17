"""onnxruntime: the 8-bit student, for machines that llama.cpp does not serve."""
