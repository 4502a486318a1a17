"""Devices, processes, and what survives a kill: checkpoints and resumable files.

device             `autocast`, `choose_device`, `go_offline`: where and how models run
distributed        `is_main_process`, `world_size`, `bar`: processes that train together
checkpoints        `save_learned`, `last_checkpoint`: the weights that learn
fsdp_checkpoint    `shard_model`, `gather`: a student shared out over processes
resumable_parquet  `ResumableParquet`: the finished parts of a long stage
"""
