"""Many replies behind shared articles in one training sequence."""
