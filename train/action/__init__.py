"""Action recognition: `python -m train.action`."""
