"""llama.cpp: one context for all requests, compiled articles, conversations on disk.

    engine           puts the parts together behind the scheduler     `LlamaEngine`
    runner           one step after another                           `LlamaRunner`
    active_sequence  a request that has begun                         `ActiveSequence`
    draft_shelf      drafts written before their questions come       `DraftShelf`
    article_cache    compiled articles                                `ArticleCache`
    article_packs    compiled articles on disk                        `ArticlePacks`
    pack_coding      keys and values in a quarter of their size       `encode`, `expand`
    self_test        whether articles can be composed and coded       `examine`
    session_cache    turns of conversations on disk                   `SessionCache`
    kv_cache         llama.cpp's cells and their ledger               `KvCache`
    kv_store         packs on disk                                    `KvStore`
    sequence_state   the bytes that llama.cpp stores a sequence in    `SequenceState`
    rotary           rotary positions of keys, taken off and put on   `Rotation`
    ggml_blocks      numbers in ggml's blocks                         `quantize`, `dequantize`
    model            batches of tokens in, logits out                 `LlamaModel`
    vocab            text to tokens and back                          `LlamaVocabulary`
    sampler          how a token is chosen                            `LlamaSampler`
    scorer           logits and speed of a file, for measuring        `LlamaScorer`
    thread_tuner     how many threads to compute with                 `ThreadTuner`
    bindings         the C library, loaded once and quiet             `library`

All but `bindings`, `scorer` and the vocabulary belongs to the engine's thread. Knows nothing of processes and sockets.
"""
