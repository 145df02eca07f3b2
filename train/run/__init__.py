"""A run from its configuration to its folder: stage one, stage two, figures and scores."""
