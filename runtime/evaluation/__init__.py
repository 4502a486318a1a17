"""Measures answers, retrieval and classifiers on questions with known answers."""
