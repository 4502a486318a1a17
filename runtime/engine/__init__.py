"""Continues tokens: a scheduler, llama.cpp or onnxruntime behind it, in a process of its own.

Knows no articles and no policies.
"""
