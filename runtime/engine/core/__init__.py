"""The engine without a library: requests, scheduling, batching, the ledger of the KV cache."""
