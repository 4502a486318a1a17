"""The commands of a branch."""
