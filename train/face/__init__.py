"""Sequential face alignment: `python -m train.face`."""
