"""How a prompt is laid out and encoded, the same in training and in a branch."""
