"""What head office ships and a branch installs: the bundle and its generations."""
