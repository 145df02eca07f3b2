"""Files that are read and written: arrays, backbones and sequence models."""
