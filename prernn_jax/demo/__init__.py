"""A small trained model that comes with the package.

`gesture.safetensors` is what `prernn train gesture` leaves with its default settings: video top-1
0.930 on its drawn test set.
"""
