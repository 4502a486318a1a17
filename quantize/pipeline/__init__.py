"""The stages from merged checkpoint to bundle.

    build    `build`, `QuantizeSettings`: every stage in order, those that are up to date left alone
    stages   `Stages`, `make_f16`, `make_format`, `make_onnx`: the files made from a checkpoint alone
    bundle   `write_bundle`, `BundleParts`, `card_text`: the parts copied into the folder a branch installs

Knows nothing of how a checkpoint came into being.
"""
