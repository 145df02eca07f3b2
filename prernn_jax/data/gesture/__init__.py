"""Gesture data sets: NVGesture and the drawn one, and how their clips are sampled."""
