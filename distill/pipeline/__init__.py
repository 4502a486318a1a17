"""The stages of a build, and which of them are stale."""
