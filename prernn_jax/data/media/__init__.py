"""Video decoding, optical flow and augmentation."""
