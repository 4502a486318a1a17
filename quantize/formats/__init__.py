"""Checkpoints in, GGUF and ONNX files out.

    checkpoint           `Checkpoint`, `ModelShape`, `read_shape`: a Hugging Face folder, refused here or convertible
    gguf_writer          `write_gguf`: the f16 file
    gguf_vocab           tokens, merges and special tokens of byte-pair encoding as GGUF entries
    gguf_sentencepiece   the same of a SentencePiece vocabulary
    gguf_quantize        `quantize_gguf`, `KINDS`, `check_kinds`: f16 to Q8_0 … Q4_K_M by llama.cpp, in a child
    importance_matrix    `measure_importance`: which columns matter on the company's texts, in llama.cpp's own file
    onnx_decoder         `export_onnx_decoder`: the 8-bit ONNX decoder

Knows nothing of bundles and of questions.
"""
