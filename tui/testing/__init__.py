"""A server in memory, for tests, pictures and practice."""
