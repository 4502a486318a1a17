"""Files on disk, the home of a branch, settings and progress. Knows no article and no model."""
