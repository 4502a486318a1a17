"""Measurements with an engine or a model file.

    thread_benchmark  how many threads write fastest on this machine          `measure_threads`
    tokenizer_parity  proves that a checkpoint and a GGUF cut text alike       `prove_parity`
    logits_recorder   the logits that an engine chose its tokens from          `LogitsRecorder`

Used at install, by head office, tests and benchmarks; no answer needs them.
"""
