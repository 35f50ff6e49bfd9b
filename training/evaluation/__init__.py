"""Evaluates trained models and writes the reports."""
