"""Where base models come from, and whether their tokenizers match."""
