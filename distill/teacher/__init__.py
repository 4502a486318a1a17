"""What the teacher knows, on disk: captured log-probabilities and replies."""
