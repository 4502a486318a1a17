"""What a branch remembers: one SQLite file, written before anything is answered."""
