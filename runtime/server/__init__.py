"""The HTTP server of a branch, on a Unix socket or TCP."""
