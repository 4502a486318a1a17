"""Whether sections bear a text out: citations, claims, facts, extractive answers."""
