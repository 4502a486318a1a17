"""Transcripts and articles in, a tuned and merged student checkpoint out. Knows nothing of `quantize` and `tui`.

    cli/          the commands of head office for models, data and classifiers
    pipeline/     the stages of a build, which of them are stale, and what a recipe gets wrong
    classifiers/  training of the intent, emotion and dictation classifiers
    student/      pruning, refitting, distillation, tuning, merging, and how far a student is from its teacher
    teacher/      what a teacher knows, on disk: captured log-probabilities and replies
    data/         transcripts, FAQs and simulated conversations to records
    recipe/       one TOML file that says how a model is built, and the gate of its release
    models/       where checkpoints come from, their shapes, templates and vocabularies
    packing/      many replies after shared articles in one sequence, and how a model reads it
    compute/      devices, processes, and what survives a kill

A room imports only rooms below it in this list.
"""

import runtime as runtime  # switches telemetry off before any library of this package is imported
