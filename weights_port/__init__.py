"""Weights of other frameworks to prernn_jax parameters, and back."""
