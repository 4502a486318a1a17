"""Transcripts, articles and simulations become records."""
