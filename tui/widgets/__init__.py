"""What is drawn, one widget a module."""
