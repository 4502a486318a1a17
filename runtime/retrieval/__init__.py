"""Finds the sections that answer a question: vectors, shared words, earlier questions."""
