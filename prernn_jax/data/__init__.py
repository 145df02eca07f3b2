"""Data sets, decoding, optical flow, augmentation and loading."""
