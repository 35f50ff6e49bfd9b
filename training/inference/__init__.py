"""Scoring images and clips with a trained model."""
