"""What does not go into training, and why: duplicates, boilerplate, broken conversations, replies that are not true.

duplicates            the same text again: exact, near (MinHash), and the same in meaning
conversations         system lines and boilerplate taken out; empty, broken and unresolved conversations dropped
contradictions        replies that an article contradicts or that an expired one made; articles that disagree
"""
