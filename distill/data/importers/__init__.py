"""Readers of public data sets and of articles in other forms."""
