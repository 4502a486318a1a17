"""The commands of head office for models, data and classifiers."""
