"""Assigning rows to training, validation and test without leaks."""
