"""Evaluates models, compares results, and writes the reports."""
