"""Measuring a trained model, and the report of it."""
