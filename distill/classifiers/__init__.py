"""Training of the intent, emotion and dictation classifiers."""
