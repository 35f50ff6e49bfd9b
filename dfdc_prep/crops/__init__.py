"""Cutting face crops out of frames, and reading crop files."""
