"""Per-frame classifiers whose last layers can become recurrent."""
