"""The stages of a build, and which of them are stale.

build            `open_build`, `Build`: the models of a recipe, and the stages run in order
stage_table      `STAGES`: each stage with what it reads; staleness is derived from it
stages           what each stage does
teacher_replies  the stage in which a teacher writes replies
preflight        `check_recipe`: what a recipe gets wrong, before any work
workspace        `Workspace`: what the stages of one build share
speech_folder    `write_speech_folder`: the recognisers of a recipe as the bundle's `speech/`
launch           a training stage in processes of torchrun or accelerate
"""
