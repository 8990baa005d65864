"""What is laid over a root tree or an existing image."""
