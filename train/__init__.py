"""Training programs of the three applications."""
