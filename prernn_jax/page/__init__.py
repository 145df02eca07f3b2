"""A static page that runs a trained model in a browser."""
