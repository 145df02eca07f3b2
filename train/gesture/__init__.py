"""Dynamic hand gestures: `python -m train.gesture`."""
