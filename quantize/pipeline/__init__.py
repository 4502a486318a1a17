"""The stages from merged checkpoint to bundle.

    build          `build`: every stage in order, those that are up to date left alone
    settings       `QuantizeSettings`: what is made and how it is measured
    stages         `make_f16`, `make_format`, `make_importance`, `make_onnx`: the files made from a checkpoint alone
    answer_stages  every model asked the held-out questions, the released file what agents corrected
    bundle         `write_bundle`, `BundleParts`, `card_text`: the parts copied into the folder a branch installs

Knows nothing of how a checkpoint came into being.
"""
