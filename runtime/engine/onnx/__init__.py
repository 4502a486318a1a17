"""onnxruntime: the 8-bit student, for machines that llama.cpp does not serve.

    engine   puts the parts together behind the scheduler    `OnnxEngine`
    runner   one request at a time                           `OnnxRunner`
    model    tokens in, logits out                           `OnnxModel`
    vocab    text to tokens and back, from a tokenizer.json  `JsonVocabulary`
    sampler  how a token is chosen                           `NumpySampler`

Runs in the server's process: onnxruntime raises where llama.cpp would abort.
"""
