"""Continues tokens: a scheduler in front of llama.cpp or onnxruntime, in a process of its own.

    core     requests, queue, batch planning, the ledger of the KV cache   `EngineOptions`, `TextEngine`, `Scheduler`
    llama    llama.cpp, compiled articles, conversations on disk           `LlamaEngine`, `LlamaScorer`
    onnx     the 8-bit student in onnxruntime                              `OnnxEngine`
    process  llama.cpp's engine in a child process                         `RemoteEngine`, `ProcessLimits`
    tools    measurements                                                  `measure_threads`, `prove_parity`

Knows nothing of articles' words, policies and the journal.
"""
