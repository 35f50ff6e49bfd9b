"""Cutting face crops out of frames, comparing them, and reading crop files."""
