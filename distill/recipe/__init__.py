"""One TOML file that says how a model is built, and the gate its release must pass.

recipe        `Recipe`, `load_recipe`: every key, checked
settings      `DistillSettings`, `LoraSettings`: the keys of the training runs
release_gate  `check_gate`: the bounds that a release must reach
"""
