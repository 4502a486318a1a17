"""llama.cpp: one model, one thread that owns its context, compiled articles."""
