"""The agents' console, a client of the runtime's API. Knows nothing of `distill` and `quantize`."""

import os

import runtime as runtime  # switches telemetry off before any library of this package is imported

# Textual paints at its next tick, or at the one after; at its 60 ticks a second a letter waits up to 33 ms beside a
# draft. More ticks are not more paints: nothing is painted where nothing changed, and drafts have a pace of their own.
os.environ.setdefault("TEXTUAL_FPS", "120")
