"""What head office ships and a branch installs: the bundle, checked, and its generations.

    bundle        `Bundle`, `BundleInfo`, `open_bundle`: the folder, its hashes compared before anything is parsed
    generations   `install`, `rollback`, `activate`, `current_bundle`: which bundle a branch runs
    gguf_check    `check_gguf`: a model file's header, held to what llama.cpp can load without aborting

Knows nothing of what a branch does with a bundle.
"""
