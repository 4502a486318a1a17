"""Checkpoints in, GGUF and ONNX files out.

    checkpoint           `Checkpoint`, `ModelShape`, `read_shape`: a Hugging Face folder, refused here or convertible
    gguf_writer          `write_gguf`: the f16 file
    gguf_vocab           tokens, merges and special tokens of byte-pair encoding as GGUF entries
    gguf_sentencepiece   the same of a SentencePiece vocabulary
    gguf_quantize        `quantize_gguf`, `KINDS`, `check_kinds`: f16 to Q8_0 … Q4_K_M by llama.cpp, in a child
    gguf_blocks          `BlockMatrix`: the codes and factors in a matrix's blocks
    compensated_rounding `round_compensated`: codes and factors by which outputs err least
    compensated_gguf     `compensate_gguf`: a quantized file, its layers rounded anew on the company's texts
    importance_matrix    `measure_importance`: which columns matter on the company's texts, in llama.cpp's own file
    onnx_decoder         `export_onnx_decoder`: the ONNX decoder in 8 or 4 bits

Knows nothing of bundles and of questions.
"""
