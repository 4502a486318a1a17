"""What the teacher knows, on disk: captured log-probabilities and replies.

teacher           `Teacher`: a checkpoint or GGUF that reads packs
capture           `capture`, `read_capture`: its top-k log-probabilities in a Parquet file
capture_estimate  `estimate_capture`: time and disk of a capture, from a sample
generators        `Generator`: a GGUF or server that writes replies
sampled_replies   `sample_replies`: its replies, those kept that the articles support
teacher_forcing   `read_replies`: what a model makes of held-out replies, token by token
"""
