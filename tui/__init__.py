"""The agents' console, a client of the runtime's API. Knows nothing of `distill` and `quantize`."""
