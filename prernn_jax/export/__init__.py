"""Trained models for other programs: ONNX, StableHLO, and the card beside a model."""
