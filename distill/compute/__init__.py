"""Devices, processes, and what survives a kill: checkpoints and resumable files."""
