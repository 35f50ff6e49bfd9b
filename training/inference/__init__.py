"""Predictions for image and clip files from a trained model."""
