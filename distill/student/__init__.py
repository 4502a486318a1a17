"""The student: pruned, refitted, taught, tuned and merged."""
