"""What a branch runs: engine, retrieval, conversation, journal, bundle store and server.

The ground floor: it imports none of the other packages, and it owns what both sides must agree on (record, article,
prompt layout, manifest, bundle). Importing it loads nothing heavy; libraries are imported where they are used.
"""

__version__ = "0.1.0"
