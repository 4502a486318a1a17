"""One TOML file that says how a model is built, and the gate its release must pass."""
