"""The commands of head office for quantizing."""
