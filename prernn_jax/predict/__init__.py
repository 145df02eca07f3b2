"""What a trained model sees in a video."""
