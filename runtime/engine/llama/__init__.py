"""llama.cpp: one context for all requests, compiled articles, conversations on disk.

    engine           puts the parts together behind the scheduler     `LlamaEngine`
    runner           one step after another                           `LlamaRunner`
    active_sequence  a request that has begun                         `ActiveSequence`
    article_cache    compiled articles                                `ArticleCache`
    session_cache    turns of conversations on disk                   `SessionCache`
    kv_cache         llama.cpp's cells and their ledger               `KvCache`
    kv_store         packs on disk                                    `KvStore`
    model            batches of tokens in, logits out                 `LlamaModel`
    vocab            text to tokens and back                          `LlamaVocabulary`
    sampler          how a token is chosen                            `LlamaSampler`
    scorer           logits and speed of a file, for measuring        `LlamaScorer`
    thread_tuner     how many threads to compute with                 `ThreadTuner`
    bindings         the C library, loaded once and quiet             `library`

All but `bindings`, `scorer` and the vocabulary belongs to the engine's thread. Knows nothing of processes and sockets.
"""
