"""Convolutions, products and pooling in forms that are fast on a CPU; a GPU never sees them."""
