"""What a branch runs: engine, retrieval, conversation, journal, bundle store and server.

The ground floor: it imports none of the other packages, and it owns what both sides must agree on (record, article,
prompt layout, manifest, bundle). Importing it loads nothing heavy; libraries are imported where they are used.
"""

import os

# Libraries that report home do so by default, and read these names when they are imported. onnxruntime's own switch,
# `disable_telemetry_events()`, does not stop its Linux wheel. Assigned, not defaulted: no environment turns them on.
os.environ.update(ORT_DISABLE_TELEMETRY="1", ANONYMIZED_TELEMETRY="False", HF_HUB_DISABLE_TELEMETRY="1")

__version__ = "0.1.0"
