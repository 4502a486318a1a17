"""What does not go into training, and why: duplicates.

duplicates            the same text again: exact, near (MinHash), and the same in meaning
"""
