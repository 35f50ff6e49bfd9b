"""Evaluates a trained model and writes the report."""
