"""What a text wants, and whether it tries to steer the model."""
