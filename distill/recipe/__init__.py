"""One TOML file that says how a model is built, and the gate its release must pass.

recipe        `Recipe`: every key of it
load_recipe   `load_recipe`: reads it, and finds every file it names
settings      `DistillSettings`, `LoraSettings`: the keys of the training runs
transcript_settings  `Transcripts`: the keys of `[[data.transcripts]]`
speech_settings  `Speech`: the keys of `[speech]`
release_gate  `check_gate`: the bounds that a release must reach
"""
