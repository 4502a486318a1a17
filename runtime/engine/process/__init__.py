"""The engine in a process of its own, because llama.cpp aborts on an assertion."""
